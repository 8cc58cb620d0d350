"""Figures that look into a trained method: where it looked, and how it spreads the nodules out."""
