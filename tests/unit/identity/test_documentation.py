"""What config/IDENTITY.md says is what is so."""

from pathlib import Path
from typing import get_args

from metaproxy.identity.troubles import ANSWERS
from metaproxy.identity.validator import Reason
from metaproxy.protocol.identity_headers import RESERVED

DOCUMENT = (Path(__file__).parents[3] / "config" / "IDENTITY.md").read_text()


def test_every_reason_stands_in_the_document_with_its_status() -> None:
    rows = [row for row in DOCUMENT.splitlines() if row.startswith("|")]
    for answer in ANSWERS.values():
        told = [row for row in rows if f"`{answer.reason}`" in row]
        assert told, answer.reason
        assert all(f"| {answer.status}, " in row for row in told)
    assert all(f"`{reason}`" in DOCUMENT for reason in get_args(Reason))


def test_every_field_that_is_sent_or_taken_off_stands_in_the_document() -> None:
    twins = {name for name in RESERVED if name.startswith(b"x-service-") and name != b"x-service-catalog"}
    document = DOCUMENT.lower()

    assert [name for name in sorted(RESERVED - twins) if name.decode() not in document] == []
