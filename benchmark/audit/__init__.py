"""Can published numbers be what they claim? Exact arithmetic on printed scores; `python -m benchmark.audit`."""
