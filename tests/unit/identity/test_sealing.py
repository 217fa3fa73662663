"""Bytes that only holders of the operator's key and of the token can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.identity.sealing import OVERHEAD_BYTES, Sealer, Unsealable

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
SEALER = Sealer([KEY], b"settings")


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=50))
def test_what_was_sealed_is_opened_with_the_same_key_token_and_bond(
    content: bytes, token: bytes, bond: bytes
) -> None:
    sealed = SEALER.seals(token, b"use")[0].seal(content, bond)

    assert SEALER.seals(token, b"use")[0].open(sealed, bond) == content
    assert len(sealed) == len(content) + OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("sealer", "token", "use", "bond"),
    [
        (Sealer([OTHER_KEY], b"settings"), b"token", b"use", b"bond"),
        (Sealer([KEY], b"other"), b"token", b"use", b"bond"),
        (SEALER, b"tokeN", b"use", b"bond"),
        (SEALER, b"token", b"another", b"bond"),
        (SEALER, b"token", b"use", b"another"),
    ],
)
def test_anything_else_opens_nothing(sealer: Sealer, token: bytes, use: bytes, bond: bytes) -> None:
    sealed = SEALER.seals(b"token", b"use")[0].seal(b"content", b"bond")

    with pytest.raises(Unsealable):
        sealer.seals(token, use)[0].open(sealed, bond)


@given(st.data())
def test_a_value_that_was_changed_in_any_place_opens_nothing(data: st.DataObject) -> None:
    seal = SEALER.seals(b"token", b"use")[0]
    sealed = bytearray(seal.seal(b"content", b""))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Unsealable):
        seal.open(bytes(sealed), b"")


def test_names_differ_for_every_key_token_use_and_setting() -> None:
    names = [
        Sealer([key], settings).seals(token, use)[0].name
        for key in (KEY, OTHER_KEY)
        for settings in (b"one cloud...", b"another one.")
        for token in (b"alice", b"bob")
        for use in (b"token", b"expired token")
    ]

    assert len(set(names)) == 16


def test_the_first_key_seals_and_each_has_its_own_name() -> None:
    both = Sealer([KEY, OTHER_KEY], b"settings").seals(b"token", b"use")

    assert both[0].name == SEALER.seals(b"token", b"use")[0].name
    assert both[1].name == Sealer([OTHER_KEY], b"settings").seals(b"token", b"use")[0].name
