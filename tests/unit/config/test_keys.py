"""Walking the model's keys."""

import pytest

from metaproxy.config.keys import every_key, section_at
from metaproxy.config.model import Config
from metaproxy.config.model.identity import KeystoneV3Settings, LoginV2
from metaproxy.config.model.server import Server
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.section import Section


def test_every_key_has_a_path_of_its_own() -> None:
    paths = [key.path for key in every_key()]

    assert len(paths) == len(set(paths))
    assert {"server", "limits.rates[].per", "identity(keystone-v2).login.username"} < set(paths)


def test_every_key_is_documented() -> None:
    assert [key.path for key in every_key() if not (key.field.description or "").endswith(".")] == []


@pytest.mark.parametrize(
    ("location", "section"),
    [
        ((), Config),
        (("server",), Server),
        (("limits", "rates", 3), RateRule),
        (("identity", "keystone-v3"), KeystoneV3Settings),
        (("identity", "keystone-v2", "login"), LoginV2),
    ],
)
def test_a_location_leads_to_its_section(location: tuple[str | int, ...], section: type[Section]) -> None:
    assert section_at(location) is section
