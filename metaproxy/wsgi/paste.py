"""Factories for PasteDeploy, so that an ``api-paste.ini`` can name metaproxy.

``[filter:metaproxy] use = egg:metaproxy``, ``config = metaproxy.yaml``: paths start from the folder of the
ini file (``here``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from metaproxy.wsgi.filter import Filter, Proxy
from metaproxy.wsgi.types import WSGIApp

DEFAULT_THREADS = "32"


def filter_factory(
    global_conf: Mapping[str, str], config: str, threads: str = DEFAULT_THREADS
) -> Callable[[WSGIApp], Filter]:
    """Return what puts the line around an application (``paste.filter_factory``).

    Args:
        global_conf: what PasteDeploy tells of the ini file; ``here`` is its folder.
        config: the configuration's path.
        threads: how many requests the application answers at the same time.
    """
    path = _path(global_conf, config)
    return lambda app: Filter(app, path, threads=int(threads))


def app_factory(global_conf: Mapping[str, str], config: str) -> Proxy:
    """Return the whole line with its upstream as an application (``paste.app_factory``)."""
    return Proxy(_path(global_conf, config))


def _path(global_conf: Mapping[str, str], config: str) -> Path:
    return Path(global_conf.get("here", ".")) / config
