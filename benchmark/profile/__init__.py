"""What a training step costs, part by part, and what a whole grid of fits would take: `python -m benchmark profile`."""
