"""Encoder LoRA and LoRA+: training end to end through the encoder, on raw samples (method.md section 3)."""
