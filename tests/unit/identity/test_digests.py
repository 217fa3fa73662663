"""Tokens as hashes."""

import pytest

from metaproxy.identity.digests import fingerprint, hash_token, keyed_digest, parse_hash


def test_a_process_tells_tokens_apart_by_a_key_of_its_own() -> None:
    one, other = keyed_digest(), keyed_digest()

    assert one(b"token") == one(b"token")
    assert one(b"token") != one(b"token2")
    assert one(b"token") != other(b"token")


def test_another_purpose_gives_another_digest() -> None:
    key = bytes(32)

    assert keyed_digest(b"a", key)(b"token") != keyed_digest(b"b", key)(b"token")


def test_a_hashed_token_is_its_sha256() -> None:
    # echo -n token | sha256sum
    expected = "sha256:3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0"

    assert hash_token("token") == expected
    assert parse_hash(expected) == fingerprint(b"token")


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:12", "md5:" + "0" * 64, "sha256:" + "x" * 64, "0" * 64]
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        parse_hash(text)
