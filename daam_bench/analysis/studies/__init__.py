"""What derived runs show beside the ordinary ones: their frames, and the curves of layer ablations."""
