"""Keys without effect are told once somebody sets them."""

from metaproxy.config import Config
from metaproxy.config.pending import unsupported

CONFIG = Config.model_validate(
    {
        "server": {"idle_timeout": "5s"},
        "upstream": {"targets": ["http://127.0.0.1:1"]},
        "identity": {"provider": "none"},
    }
)


def test_a_key_that_is_set_is_told() -> None:
    assert unsupported(CONFIG, {"server.idle_timeout": "is always 75s"}) == [
        "server.idle_timeout: is always 75s"
    ]


def test_a_key_at_its_default_is_not() -> None:
    assert unsupported(CONFIG, {"server.header_timeout": "is not used"}) == []


def test_a_key_that_this_provider_does_not_have_is_not() -> None:
    assert unsupported(CONFIG, {"identity.cache.ttl": "is not used"}) == []
