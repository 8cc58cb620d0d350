import os

from hypothesis import settings

# Anyone's run looks for new counterexamples; CI repeats the same ones, so that a commit stands or falls by itself.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
