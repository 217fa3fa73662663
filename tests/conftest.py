"""What holds for every test."""

from hypothesis import settings

# A deadline by the clock measures how busy the machine is; what is slow is found by tests/bench.
settings.register_profile("metaproxy", deadline=None)
settings.load_profile("metaproxy")
