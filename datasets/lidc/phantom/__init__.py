"""Phantom: nodules as a CT scanner might show them, rendered from the radiologists' outlines and ratings."""
