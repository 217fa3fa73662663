"""Tokens written down beforehand."""

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.digests import hash_token
from metaproxy.identity.static import StaticToken, StaticTokens
from metaproxy.identity.validator import Rejected, TokenRejected
from tests.identities import ALICE, NOW, FakeClock


async def test_a_token_given_in_plain_text_is_known() -> None:
    assert await StaticTokens([StaticToken(token="secret", identity=ALICE)]).validate(b"secret") is ALICE


async def test_a_token_given_by_its_hash_is_known() -> None:
    tokens = StaticTokens([StaticToken(token_hash=hash_token("secret"), identity=ALICE)])

    assert await tokens.validate(b"secret") is ALICE


async def test_another_token_is_rejected() -> None:
    with pytest.raises(TokenRejected):
        await StaticTokens([StaticToken(token="secret", identity=ALICE)]).validate(b"secret2")


async def test_a_token_ends_at_its_expiry() -> None:
    wall = FakeClock(NOW)
    tokens = StaticTokens([StaticToken(token="s", identity=Identity(expires_at=NOW + 1))], wall=wall)
    await tokens.validate(b"s")

    wall.now += 1

    with pytest.raises(TokenRejected) as rejection:
        await tokens.validate(b"s")
    assert rejection.value.verdict == Rejected("token_expired")
    await tokens.validate(b"s", allow_expired=True)


def test_the_same_token_twice_is_an_error_whichever_way_it_is_given() -> None:
    twice = [StaticToken(token="s", identity=ALICE), StaticToken(token_hash=hash_token("s"), identity=ALICE)]

    with pytest.raises(ValueError, match="twice"):
        StaticTokens(twice)


def test_a_token_needs_exactly_one_form() -> None:
    with pytest.raises(ValueError, match="either"):
        StaticToken(identity=ALICE)
    with pytest.raises(ValueError, match="either"):
        StaticToken(identity=ALICE, token="s", token_hash=hash_token("s"))


def test_no_plain_token_is_kept_or_shown() -> None:
    tokens = StaticTokens([StaticToken(token="plain-secret", identity=ALICE)])

    assert len(tokens) == 1
    assert "plain-secret" not in repr(vars(tokens))
    assert "plain-secret" not in repr(StaticToken(token="plain-secret", identity=ALICE))
