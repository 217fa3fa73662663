"""TLS files, extras, and secrets in files that others can read."""

import stat
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pydantic import SecretStr

from metaproxy.config.document import Document
from metaproxy.config.load import Reading
from metaproxy.config.model.identity import AnyProvider, Keystone
from metaproxy.config.model.operations import Store, Tracing
from metaproxy.config.model.server import Server
from metaproxy.config.model.upstream import Upstream
from metaproxy.preflight.machine import Machine
from metaproxy.preflight.note import Note, warning
from metaproxy.preflight.tls import client_tls, server_tls
from metaproxy.settings.section import KeyPath, Section
from metaproxy.store.installed import require_redis
from metaproxy.store.unavailable import StoreNotInstalled

OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH


def listener_tls(machine: Machine, server: Server) -> Iterator[Note]:
    """Yield what is wrong with the TLS files of the data listener."""
    if server.tls is not None:
        yield from server_tls(server.tls, ("server", "tls"), machine.time)


def upstream_tls(machine: Machine, upstream: Upstream) -> Iterator[Note]:
    """Yield what is wrong with the TLS files for the upstream."""
    yield from client_tls(upstream.tls, ("upstream", "tls"), machine.time)


def identity_tls(machine: Machine, identity: AnyProvider) -> Iterator[Note]:
    """Yield what is wrong with the TLS files for the identity service."""
    if isinstance(identity, Keystone):
        yield from client_tls(identity.tls, ("identity", "tls"), machine.time)


def extras(store: Store, tracing: Tracing, identity: AnyProvider) -> Iterator[Note]:
    """Yield every extra that is needed and not installed."""
    if store.url is not None:
        try:
            require_redis()
        except StoreNotInstalled as error:
            yield Note(("store", "url"), str(error).removeprefix("store.url "))
    if (
        isinstance(identity, Keystone)
        and identity.shared_tokens.keys
        and not _is_installed("cryptography.hazmat.primitives.ciphers.aead")
    ):
        yield Note(
            ("identity", "shared_tokens", "keys"), "needs the extra tokens: pip install 'metaproxy[tokens]'"
        )
    if tracing.otlp_endpoint is not None and not _is_installed(
        "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    ):
        yield Note(("tracing", "otlp_endpoint"), "needs the extra otel: pip install 'metaproxy[otel]'")


def _is_installed(*modules: str) -> bool:
    try:
        for module in modules:
            import_module(module)
    except ImportError:
        return False
    return True


def open_secrets(reading: Reading) -> Iterator[Note]:
    """Yield every secret that is written in clear text into a file that other users can read."""
    modes: dict[str, int] = {}
    for name, section in reading.sections.items():
        for path in _secrets(section, (name,)):
            file = _written_in(reading.document, path)
            if file is None:
                continue
            if file not in modes:
                modes[file] = _mode(Path(file))
            if modes[file] & OTHERS_MAY_READ:
                yield warning(
                    path,
                    f"is a secret in a file that other users can read (mode {modes[file]:04o}): "
                    f"chmod 600 {file}, or write ${{NAME}} or ${{file:/path}}",
                )


def open_key_files(reading: Reading) -> Iterator[Note]:
    """Yield every key of shared tokens in a file that all users can read: it opens and makes valid tokens."""
    identity = reading.sections.get("identity")
    for index in range(len(identity.shared_tokens.keys)) if isinstance(identity, Keystone) else ():
        path = ("identity", "shared_tokens", "keys", index)
        for file in reading.document.sources.get(path, ()):
            if (mode := _mode(file)) & stat.S_IROTH:
                yield warning(
                    path, f"stands in a file that all users can read (mode {mode:04o}): chmod 600 {file}"
                )


def _secrets(value: object, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, Section):
        for name in type(value).model_fields:
            if name != "token_hash":
                yield from _secrets(getattr(value, name), (*path, name))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, index))
    elif isinstance(value, SecretStr) and _holds_secret(value.get_secret_value(), path):
        yield path


def _holds_secret(text: str, path: KeyPath) -> bool:
    """A store's URL is a secret only if a password stands in it."""
    return "@" in text or "password=" in text if path == ("store", "url") else True


def _written_in(document: Document, path: KeyPath) -> str | None:
    """The file that holds the text of ``path``; None if the text came from elsewhere."""
    if path in document.hidden or path not in document.lines:
        return None
    return document.lines[path][0]


def _mode(file: Path) -> int:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return 0
