"""What derived runs show beside the ordinary ones: one table a file."""
