"""Benchmark of small attention modules on the cached hidden states of frozen transformers."""

__version__ = "0.1.0"
