"""Training of attention variants and baselines on a cache."""
