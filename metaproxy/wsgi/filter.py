"""The line as a WSGI filter around an application, or as a WSGI application of its own."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from metaproxy.app import Application, create_app
from metaproxy.config import Config, load_config
from metaproxy.wsgi.behind import Behind
from metaproxy.wsgi.call import Call
from metaproxy.wsgi.loop import LoopThread
from metaproxy.wsgi.types import Environ, StartResponse, WSGIApp

IN_PROCESS = {("upstream", "targets"): ["http://in-process.invalid"], ("server", "workers"): 1}
"""A filter has neither listeners nor targets of its own; so a file for one may leave both sections out."""


class Line:
    """A line on an event loop in a thread of its own, as a WSGI application.

    It begins with the first request, in the process that answers it: a server may fork as it likes after
    the application was made.

    Args:
        make: makes the line; called again in a process that was forked off a running one.
    """

    def __init__(self, make: Callable[[], Application]) -> None:
        self._make = make
        self._application = make()
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._process = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI interface."""
        thread = self._running()
        call = Call(self._application, environ, thread)
        try:
            call.start(start_response)
        except BaseException:
            call.close()
            raise
        return _Answer(call)

    def close(self) -> None:
        """End the line; only needed where a process goes on without it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.submit(self._application.close()).result()
            thread.stop()

    def _running(self) -> LoopThread:
        if self._thread is not None and self._process != os.getpid():
            # Threads do not survive a fork, and a lock may have been forked while it was held.
            self._application, self._lock, self._thread = self._make(), threading.Lock(), None
        with self._lock:
            if self._thread is None:
                thread = LoopThread()
                thread.submit(self._application.start()).result()
                thread.stop_at_exit(self._application.close)
                self._thread, self._process = thread, os.getpid()
            return self._thread


class Proxy(Line):
    """The whole line as a WSGI application that asks the upstream of its configuration.

    Args:
        config: the configuration, or the path of its file.

    Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, config: Config | Path | str) -> None:
        loaded = config if isinstance(config, Config) else load_config(config)
        super().__init__(lambda: create_app(loaded))


class Filter(Line):
    """The line around a WSGI application, which answers where otherwise the upstream would be asked.

    Args:
        config: the configuration, or the path of its file; its section upstream is not used.
        threads: how many requests the application answers at the same time in this process.

    Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, app: WSGIApp, config: Config | Path | str, *, threads: int = 32) -> None:
        loaded = config if isinstance(config, Config) else load_config(config, overrides=IN_PROCESS)
        behind = Behind(app, threads=threads)
        super().__init__(lambda: create_app(loaded, answering=behind))


class _Answer:
    """The body of an answer, with the ``close`` that servers call whatever happens."""

    def __init__(self, call: Call) -> None:
        self._pieces = iter(call)
        self.close = call.close

    def __iter__(self) -> "_Answer":
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)


DEFAULT_THREADS = "32"


def filter_factory(
    global_conf: Mapping[str, str], config: str, threads: str = DEFAULT_THREADS
) -> Callable[[WSGIApp], Filter]:
    """Return what puts the line around an application (``paste.filter_factory``), for an ``api-paste.ini``.

    ``[filter:metaproxy] use = egg:metaproxy``, ``config = metaproxy.yaml``: paths start from its folder.

    Args:
        global_conf: what PasteDeploy tells of the ini file; ``here`` is its folder.
    """
    path = _path(global_conf, config)
    return lambda app: Filter(app, path, threads=int(threads))


def app_factory(global_conf: Mapping[str, str], config: str) -> Proxy:
    """Return the whole line with its upstream as an application (``paste.app_factory``)."""
    return Proxy(_path(global_conf, config))


def _path(global_conf: Mapping[str, str], config: str) -> Path:
    return Path(global_conf.get("here", ".")) / config
