"""Frozen pre-trained transformers: raw samples to pooled hidden states of every layer."""
