"""Fidelity: how near slices that were rendered come to real ones of the same nodules."""
