"""The embedding cache: pooled layers of every sample, written once, verified on every read."""
