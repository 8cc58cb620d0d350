"""Keeps the tool out of collection: pytest's doctest option would import its files as modules of the suite."""

collect_ignore_glob = ["*.py"]
