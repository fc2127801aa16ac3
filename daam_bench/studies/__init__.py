"""Studies: training jobs derived from the experiments. Imports no torch: planning stays quick."""
