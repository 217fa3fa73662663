"""Fields that an operator wants otherwise, and those that are nobody's to edit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from metaproxy.protocol import identity_headers
from metaproxy.protocol.header_edits import (
    REQUEST_RESERVED,
    RESPONSE_RESERVED,
    HeaderEdits,
    RequestField,
    RequestHeaders,
    ResponseField,
    ResponseHeaders,
    header_edits,
    is_value,
    name_problem,
)

NOTHING: frozenset[bytes] = frozenset()


def test_what_is_removed_or_replaced_goes_and_the_rest_keeps_its_order() -> None:
    edits = header_edits(
        ResponseHeaders(
            remove=("Server",),
            set=(ResponseField(name="X-Region", value="ord"),),
            add=(ResponseField(name="Link", value="<b>"),),
        )
    )

    after = edits.apply(
        [(b"a", b"1"), (b"server", b"x"), (b"link", b"<a>"), (b"x-region", b"old"), (b"a", b"2")]
    )

    assert after == [(b"a", b"1"), (b"link", b"<a>"), (b"a", b"2"), (b"x-region", b"ord"), (b"link", b"<b>")]


def test_edits_that_do_nothing_are_false() -> None:
    assert not HeaderEdits()
    assert HeaderEdits(removed=frozenset({b"a"}))
    assert HeaderEdits(added=((b"a", b"b"),))


def test_a_value_is_not_in_the_repr() -> None:
    field = RequestField(name="X-Edge-Secret", value=SecretStr("swordfish"))
    section = RequestHeaders(set=(field,))

    assert "swordfish" not in repr(section)
    assert "swordfish" not in repr(header_edits(section))


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Content-Length", "Transfer-Encoding", "TE", "Upgrade", "Host", "Via", "Expect"),
        *("X-Auth-Token", "X-Service-Token", "X-Storage-Token", "Forwarded", "X-Forwarded-For"),
        *("X-OpenStack-Request-ID", "Max-Forwards"),
    ],
)
def test_framing_tokens_and_what_the_proxy_writes_are_not_edited_in_a_request(name: str) -> None:
    assert name_problem(name, REQUEST_RESERVED) is not None
    field = {"name": name, "value": "1"}
    for edit in ({"remove": [name]}, {"set": [field]}, {"add": [field]}):
        with pytest.raises(ValueError, match="not to be edited"):
            RequestHeaders.model_validate(edit)


@given(st.sampled_from(sorted(identity_headers.RESERVED)), st.sampled_from("-_."), st.booleans())
def test_no_spelling_of_an_identity_header_can_be_written(name: bytes, separator: str, upper: bool) -> None:
    spelled = name.decode().replace("-", separator)

    assert name_problem(spelled.upper() if upper else spelled, REQUEST_RESERVED) is not None


@pytest.mark.parametrize(
    "name", ["Content-Length", "Content-Type", "ETag", "Vary", "Date", "Via", "X-Compute-Request-Id", "Age"]
)
def test_what_caches_and_clients_go_by_is_not_edited_in_an_answer(name: str) -> None:
    assert name_problem(name, RESPONSE_RESERVED) is not None


def test_fields_of_cors_are_the_section_cors_alone() -> None:
    assert name_problem("Access-Control-Allow-Origin", NOTHING) == (
        "Access-Control-Allow-Origin is written by the section cors"
    )


@pytest.mark.parametrize("name", ["", "a b", "a:", "X_A", "ä", "a\r\nb"])
def test_a_name_has_letters_digits_and_hyphens(name: str) -> None:
    assert name_problem(name, NOTHING) == "a field's name has letters, digits and hyphens alone"


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("a", True),
        ("max-age=31536000; includeSubDomains", True),
        ("a\tb", True),
        ("", False),
        (" a", False),
        ("a ", False),
        ("a\r\nSet-Cookie: b", False),
        ("a\n", False),
        ("ä", False),
        ("a\0", False),
    ],
)
def test_a_value_is_visible_ascii_on_one_line(text: str, sound: bool) -> None:
    assert is_value(text) is sound
    if not sound:
        with pytest.raises(ValueError, match="visible ASCII"):
            ResponseField(name="X-A", value=text)
