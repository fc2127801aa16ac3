"""Kills, damages, changes, bad inputs, faults and races: does the benchmark keep working?"""
