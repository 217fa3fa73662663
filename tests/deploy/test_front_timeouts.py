"""Time limits of the servers in front of metaproxy, held against metaproxy's own defaults.

A front that gives up first answers in its own words, and metaproxy's 504 with its request id never arrives.
"""

import re

import pytest

from metaproxy.config.model.identity import KeystoneV3Settings
from metaproxy.config.model.server import Server
from metaproxy.config.model.upstream import Upstream, UpstreamTimeouts
from tests.deploy.files import DEPLOY

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}

WAITS_FOR_METAPROXY = [
    ("haproxy.cfg", r"^\s*timeout server (\d+)(ms|s|m)$"),
    ("haproxy.cfg", r"^\s*timeout client (\d+)(ms|s|m)$"),
    ("nginx.conf", r"^\s*proxy_read_timeout (\d+)(ms|s|m);$"),
    ("nginx.conf", r"^\s*proxy_send_timeout (\d+)(ms|s|m);$"),
]


def seconds(name: str, pattern: str) -> float:
    """The time that a file of deploy/front sets, as its only one of this kind."""
    found = re.findall(pattern, (DEPLOY / "front" / name).read_text(), re.MULTILINE)
    [(number, unit)] = found
    return float(number) * UNITS[unit]


@pytest.mark.parametrize(("name", "pattern"), WAITS_FOR_METAPROXY)
def test_a_front_waits_longer_than_metaproxy_waits_by_default(name: str, pattern: str) -> None:
    limits = UpstreamTimeouts()
    attempts: int = 1 + Upstream.model_fields["retries"].default
    identity: float = KeystoneV3Settings.model_fields["timeout"].default
    assert seconds(name, pattern) > identity + attempts * (limits.pool + limits.connect + limits.read)


def test_a_front_lets_go_of_an_idle_connection_before_metaproxy_does() -> None:
    text = (DEPLOY / "front" / "nginx.conf").read_text()
    idle = re.search(r"keepalive_timeout (\d+)s;", text)
    default_of_nginx = 60.0
    assert (float(idle[1]) if idle else default_of_nginx) < Server.model_fields["idle_timeout"].default


def test_the_reason_stands_beside_each_time_limit() -> None:
    for name in ("haproxy.cfg", "nginx.conf"):
        read = f"upstream.timeouts.read ({UpstreamTimeouts().read:g}s by default)"
        assert read in (DEPLOY / "front" / name).read_text()
