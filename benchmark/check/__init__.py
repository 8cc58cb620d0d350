"""Is a run what our accepted numbers and the published ones lead to expect? `python -m benchmark.check RUN`."""
