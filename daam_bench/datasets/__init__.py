"""Datasets: how each kind of files becomes one table of labelled samples."""
