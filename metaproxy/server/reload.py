"""A new configuration, taken into use while requests are served.

The new application is built and started beside the one in use; only then do requests go to it. Whatever
goes wrong before that changes nothing: the file is told as refused in the log, in the metrics and by
``/readyz``, and the configuration in use stays in use.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.app import Application, create_app
from metaproxy.assembly.tls import TlsError
from metaproxy.clock import Clock, wall
from metaproxy.config import Config, ConfigError, load_config
from metaproxy.config.model.server import ServerTls
from metaproxy.server.listeners import ListenError
from metaproxy.server.switch import Switch

logger = structlog.get_logger("metaproxy")

TOLD_SECONDS = 10.0
"""How long an operator's call waits until the supervisor has told all workers."""

Apply = Callable[[Config, Application], None]


class Reloader:
    """A running metaproxy for its operator: the application in use, its configuration, and how to change it.

    Args:
        switch: hands requests to the application in use.
        path: the configuration file.
        worker: the number of this process among the workers.
        apply: called with what is about to be taken into use, for what lies outside the application
            (the log, the edge, TLS); raises ListenError where that cannot be.
        tell_all: tells every worker to reload, this one included; None where this is the only one.
        time: the wall clock.
    """

    def __init__(
        self,
        switch: Switch,
        path: Path,
        *,
        worker: int = 0,
        apply: Apply = lambda _config, _application: None,
        tell_all: Callable[[], None] | None = None,
        time: Clock = wall,
    ) -> None:
        self.worker = worker
        self.state = ConfigState(str(path), generation=1, loaded_at=time())
        self._switch = switch
        self._path = path
        self._apply = apply
        self._tell_all = tell_all
        self._time = time
        self._one_at_a_time = asyncio.Lock()
        self._waiting: list[asyncio.Future[ConfigState]] = []

    @property
    def application(self) -> Application:
        """The application that gets the next request."""
        return self._switch.application

    async def reload(self) -> ConfigState:
        """Reload in every worker; return the state of this one, or raise ReloadRefused."""
        if self._tell_all is None:
            return await self.reload_here("operator")
        told: asyncio.Future[ConfigState] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        self._tell_all()
        try:
            async with asyncio.timeout(TOLD_SECONDS):
                return await told
        except TimeoutError:
            raise ReloadRefused(["the workers could not be told"]) from None

    async def reload_here(self, cause: str) -> ConfigState:
        """Reload in this process; ``cause`` goes to the log. Raises ReloadRefused."""
        async with self._one_at_a_time:
            waiting, self._waiting = self._waiting, []
            try:
                await self._take_into_use(cause)
            except ReloadRefused as refused:
                self._refuse(cause, refused)
                _tell(waiting, refused)
                raise
            _tell(waiting, self.state)
            return self.state

    async def try_reload_here(self, cause: str) -> None:
        """Reload in this process; that it was refused is told in the log and the metrics alone."""
        try:
            await self.reload_here(cause)
        except ReloadRefused:
            return

    async def _take_into_use(self, cause: str) -> None:
        old = self.application
        try:
            written = load_config(self._path, overrides={("server", "workers"): old.config.server.workers})
            config, needs_restart = with_listeners_of(old.config, written)
            application = await _started(config, old)
        except ConfigError as error:
            raise ReloadRefused([str(problem) for problem in error.problems]) from None
        except (TlsError, OSError, ValueError) as error:
            raise ReloadRefused([str(error)]) from error
        try:
            self._apply(config, application)
        except ListenError as error:
            await application.close()
            raise ReloadRefused([str(error)]) from error
        application.draining = old.draining
        self._switch.replace(application)
        self.state = replace(
            self.state,
            generation=self.state.generation + 1,
            loaded_at=self._time(),
            problems=(),
            needs_restart=needs_restart,
        )
        logger.info(
            "configuration reloaded",
            cause=cause,
            generation=self.state.generation,
            needs_restart=list(needs_restart),
        )

    def _refuse(self, cause: str, refused: ReloadRefused) -> None:
        logger.error(
            "configuration refused, the one in use stays", cause=cause, problems=list(refused.problems)
        )
        self.state = replace(
            self.state,
            reloads_refused=self.state.reloads_refused + 1,
            refused_at=self._time(),
            problems=refused.problems,
        )


def with_listeners_of(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """Return ``new`` with what is bound since the start, and the keys in which that is not what it says."""
    kept = {
        "server.listen": new.server.listen != old.server.listen,
        "server.tls": not _same_kind_of_tls(old.server.tls, new.server.tls),
        "admin.listen": new.admin.listen != old.admin.listen,
    }
    server: dict[str, object] = {"listen": old.server.listen}
    if kept["server.tls"]:
        server["tls"] = old.server.tls
    config = new.model_copy(
        update={
            "server": new.server.model_copy(update=server),
            "admin": new.admin.model_copy(update={"listen": old.admin.listen}),
        }
    )
    return config, tuple(key for key, differs in kept.items() if differs)


def _same_kind_of_tls(old: ServerTls | None, new: ServerTls | None) -> bool:
    """Whether only the certificate may have changed: a context can take that in, but forgets no authority."""
    if old is None or new is None:
        return old is new
    return old.client_ca == new.client_ca


async def _started(config: Config, old: Application) -> Application:
    application = create_app(config, old)
    await application.start()
    return application


def _tell(waiting: list["asyncio.Future[ConfigState]"], result: ConfigState | ReloadRefused) -> None:
    for future in waiting:
        if future.done():
            continue
        if isinstance(result, ReloadRefused):
            future.set_exception(result)
        else:
            future.set_result(result)
