"""A new configuration, taken into use while requests are served.

The new application is built and started beside the one in use; only then do requests go to it. Whatever
goes wrong before that changes nothing: the failure is shown by the log, the metrics, ``/status`` and
``/readyz``, and the configuration in use stays in use.

    prepare(config) -> Prepared      the application is started; no request goes to it yet
    take(prepared, state)            requests go to it
    drop(prepared)                   it is closed again
    refuse(state)                    the state says why nothing has changed
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.app import Application, create_app
from metaproxy.assembly.readiness import failing_requirement
from metaproxy.assembly.tls import TlsError
from metaproxy.config import Config, ConfigError
from metaproxy.config.document import read_document
from metaproxy.identity.troubles import Trouble
from metaproxy.server.switch import Switch

SETTLE_SECONDS = 8.0
"""The longest time for which a reload waits for the answer of identity to a new login."""

LOGIN_TROUBLES = frozenset({Trouble.LOGIN_REFUSED.value, Trouble.FORBIDDEN.value})
"""Identity's answers to a wrong login; other troubles are about the way to identity."""

Apply = Callable[[Application], None]
"""Brings into use what lies outside the application: the log, the edge, TLS."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An application that has been started and gets no requests yet."""

    application: Application
    apply: Apply


@dataclass(slots=True, eq=False)
class Reloader:
    """A running metaproxy for its operator: the application in use, its configuration, and how to change it.

    Args:
        worker: the number of this process among the workers.
        outside: returns what brings a configuration into use outside the application; raises TlsError.
    """

    switch: Switch
    state: ConfigState
    worker: int = 0
    outside: Callable[[Config], Apply] = lambda _config: lambda _application: None
    ask: Callable[[str], Awaitable[ConfigState]] | None = field(init=False, default=None)
    """Reads the files anew and takes them into use in every worker; ``str`` is the cause for the log."""

    @property
    def application(self) -> Application:
        """The application that gets the next request."""
        return self.switch.application

    async def reload(self) -> ConfigState:
        """Reload in every worker; return the state of this one, or raise ReloadRefused."""
        if self.ask is None:
            raise ReloadRefused(["metaproxy is starting"])
        return await self.ask("operator")

    async def prepare(self, config: Config) -> Prepared:
        """Build and start the application of ``config``; raises ReloadRefused."""
        try:
            apply = self.outside(config)
            application = create_app(config, self.application)
            await application.start()
        except (TlsError, OSError, ValueError) as error:
            raise ReloadRefused([str(error)]) from error
        try:
            await _hold_to_readiness(application, self.application, self.state.path)
        except ReloadRefused:
            await application.close()
            raise
        return Prepared(application, apply)

    def take(self, prepared: Prepared, state: ConfigState) -> None:
        """Give every request from now on to the prepared application."""
        prepared.application.draining = self.application.draining
        prepared.apply(prepared.application)
        prepared.application.take_over()
        self.switch.replace(prepared.application)
        self.state = state

    async def drop(self, prepared: Prepared) -> None:
        """Close an application that is not needed after all."""
        await prepared.application.close()

    def refuse(self, state: ConfigState) -> None:
        """Show that a reload was refused."""
        self.state = state


def taken(
    state: ConfigState, needs_restart: tuple[str, ...], now: float, *, unchanged: bool = False
) -> ConfigState:
    """Return the state after a reload; ``unchanged`` says that every file was as it had been before."""
    return replace(
        state,
        generation=state.generation + 1,
        loaded_at=now,
        problems=(),
        needs_restart=needs_restart,
        unchanged=unchanged,
    )


def refused(state: ConfigState, problems: tuple[str, ...], now: float) -> ConfigState:
    """Return the state after a reload that was refused."""
    return replace(state, reloads_refused=state.reloads_refused + 1, refused_at=now, problems=problems)


async def _hold_to_readiness(application: Application, old: Application, path: str) -> None:
    """Refuse to replace a line that identity has let in by one that it does not let in.

    Wrong credentials would otherwise take a working process out of service, and the known tokens with it. A
    line that was never let in may be replaced by any other, which identity then judges anew.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            await application.settled()
    if failing_requirement(application.readiness(), "identity") is None:
        return
    if failing_requirement(old.readiness(), "identity") is None:
        raise ReloadRefused([_not_let_in(application, path)])


def _not_let_in(application: Application, path: str) -> str:
    """Return why identity does not let ``application`` in, with file, line and key of what to mend.

    ``path`` is the configuration file; it is read as it was when the configuration was made of it.
    """
    config = application.config
    health = application.authenticate.validator.health if application.authenticate is not None else None
    trouble, cause = (health.trouble, health.cause) if health is not None else ("", "")
    if trouble in LOGIN_TROUBLES:
        key, says = "login", "identity refuses this login"
    elif trouble:
        key, says = "url", "the login at identity failed"
    else:
        key, says = "url", f"identity has not answered the login within {SETTLE_SECONDS:g} s"
    reason = f" ({trouble}: {cause})" if trouble and cause else f" ({trouble})" if trouble else ""
    message = f"{says}{reason}; a process that starts with it would not be ready"
    try:
        document = read_document(Path(path), os.environ, files=config.files)
    except (ConfigError, OSError):
        return f"{path}: identity.{key}: {message}"
    return str(document.problem(("identity", key), message))
