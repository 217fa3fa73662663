"""The operator's first lines at the start: what listens, what is behind it, what is held, what is kept."""

from collections.abc import Iterable, Sequence

from metaproxy.config.model import Config
from metaproxy.settings.units import format_lifetime
from metaproxy.version import __version__


def facts(config: Config, listening: Sequence[str], admin: Sequence[str]) -> dict[str, object]:
    """Return what there is to say, as the fields of one log event."""
    return {
        "version": __version__,
        "listening": list(listening),
        "admin": list(admin),
        "upstream": [str(target) for target in config.upstream.targets],
        "identity": _identity(config),
        "limits": [f"{rule.name}: {rule.rate} per {'+'.join(rule.per)}" for rule in config.limits.rates],
        "cache": [f"{route.path} {format_lifetime(route.ttl)}" for route in config.cache.routes],
        "store": "shared" if config.store.url else "this process",
        "workers": config.server.workers,
    }


def banner(config: Config, listening: Sequence[str], admin: Sequence[str]) -> str:
    """Return the same facts as lines for eyes."""
    told = facts(config, listening, admin)
    lines = [f"metaproxy {told.pop('version')}"]
    for name, value in told.items():
        members = value if isinstance(value, list) else [value]
        lines += _row(name, [str(member) for member in members] or ["none"])
    return "\n".join(lines)


def _row(name: str, members: Sequence[str]) -> Iterable[str]:
    yield f"  {name:<10} {members[0]}"
    for member in members[1:]:
        yield f"  {'':<10} {member}"


def _identity(config: Config) -> str:
    identity = config.identity
    url = getattr(identity, "url", "")
    return f"{identity.provider} {url}".rstrip()
