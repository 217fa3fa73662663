import re
from pathlib import Path

from metaproxy.config import load_config
from metaproxy.config.model.identity import Keystone
from metaproxy.settings.units import parse_size
from tests.deploy.memory import FREE, SIZING, needed, rows

MINIMAL = """
server: {listen: 127.0.0.1:8774}
upstream: {targets: [http://127.0.0.1:9]}
identity:
  provider: keystone-v3
  url: http://127.0.0.1:9/v3
  login: {username: m, password: p, user_domain_name: Default}
"""


def test_the_table_has_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(MINIMAL)
    config = load_config(file, environ={})

    assert isinstance(config.identity, Keystone)
    told = {what: default for what, (default, _) in rows().items()}
    assert parse_size(told["valid tokens"]) == config.identity.cache.max_bytes
    assert parse_size(told["stored answers"]) == config.cache.max_bytes
    assert int(told["counters of rates"]) == config.limits.max_counters
    assert int(told["idle client connections"]) == config.server.max_connections


def test_the_largest_container_has_room_for_everything_by_default(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(MINIMAL)
    limit = re.search(r"everything above full at the same time \| (\d+) MiB", SIZING)

    assert limit is not None
    assert needed(load_config(file, environ={})) <= (1 - FREE) * int(limit[1])


def test_a_token_with_its_counter_takes_at_most_two_kib() -> None:
    measured = re.search(r"tokens, a token with its counter takes (\d\.\d+) KiB", SIZING)

    assert measured is not None
    assert float(measured[1]) <= 2
