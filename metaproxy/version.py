"""The version, in the one place from which the package, the Via field and the CLI read it."""

__version__ = "0.1.0"
