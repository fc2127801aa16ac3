"""Low-rank updates inside an encoder: where they go, how they are put there, and the proof that they work."""
