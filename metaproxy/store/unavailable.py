"""The ways in which the shared store fails its users."""


class StoreUnavailable(Exception):
    """The shared store did not answer in time, refused, or is known to be away."""


class StoreNotInstalled(ValueError):
    """A shared store is configured, and redis-py is missing or too old."""
