"""From a number in a table back to what made it, and from one folder of results to another."""
