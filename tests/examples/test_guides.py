"""What the guides in config/ say is so: reasons, keys and links exist."""

import re
from pathlib import Path

import pytest

from metaproxy.config.keys import every_key
from metaproxy.config.repose.conversion import FILTERS
from metaproxy.config.repose.others import ADVICE, HARMLESS
from metaproxy.forward.errors import _ANSWERS
from metaproxy.identity.troubles import ANSWERS

ROOT = Path(__file__).resolve().parents[2]
GUIDES = {
    name: (ROOT / "config" / name).read_text()
    for name in ("ARCHITECTURE.md", "MIGRATING.md", "TROUBLESHOOTING.md")
}
SOURCE = "\n".join(path.read_text() for path in (ROOT / "metaproxy").rglob("*.py"))
REASONS = {
    *re.findall(r'reason="([a-z_]+)"', SOURCE),
    *(answer.reason for answer in ANSWERS.values()),
    *(answer.reason for answer in _ANSWERS),
}
SECTIONS = {key.path.partition(".")[0].partition("(")[0] for key in every_key()}
KEYS = {re.sub(r"\([^)]*\)|\[\]", "", key.path) for key in every_key()}
NAMED = [
    (guide, key)
    for guide, text in GUIDES.items()
    for key in sorted(set(re.findall(r"`([a-z]+\.[a-z_.]+)[:`]", text)))
    if key.partition(".")[0] in SECTIONS
]


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_stands_in_the_troubleshooting_table(reason: str) -> None:
    assert f"`{reason}`" in GUIDES["TROUBLESHOOTING.md"]


@pytest.mark.parametrize(("guide", "key"), NAMED)
def test_every_key_that_a_guide_names_exists(guide: str, key: str) -> None:
    assert key in KEYS


@pytest.mark.parametrize(
    ("guide", "link"),
    [
        (guide, link)
        for guide, text in GUIDES.items()
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    ],
)
def test_what_a_guide_links_is_there(guide: str, link: str) -> None:
    assert (ROOT / "config" / link).exists()


def test_the_filters_of_repose_that_users_bring_are_all_in_the_migration_table() -> None:
    table = GUIDES["MIGRATING.md"]
    told = {"response-messaging", "destination-router", "uri-stripper"}
    renamed = {"ip-identity", "header-identity", "uri-identity"}
    assert told <= {*ADVICE, *HARMLESS}
    assert [name for name in (*FILTERS, *told) if name not in renamed and f"`{name}`" not in table] == []
