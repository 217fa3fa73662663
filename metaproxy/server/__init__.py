"""The process: listeners, the HTTP/1.1 edge, workers, signals, drain."""

from metaproxy.server.run import run

__all__ = ["run"]
