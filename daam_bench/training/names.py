"""Names of the baselines; imports nothing, so that planning stays quick."""

BASELINES = ("majority", "best_single_layer")
