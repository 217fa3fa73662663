"""The identity section where tokens are written down beforehand."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, SecretStr

from metaproxy.config.model.tokens import Tokens
from metaproxy.identity.digests import fingerprint, parse_hash
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.values import File, Secret, Text, Token


class Named(Section):
    """An id with its name."""

    id: Text
    """The id."""
    name: str = ""
    """The name; may be left out."""


def _token_hash(value: SecretStr) -> SecretStr:
    try:
        parse_hash(value.get_secret_value())
    except ValueError:
        raise ValueError(
            "a token hash is what `metaproxy hash-token` prints: sha256: and 64 hexadecimal digits"
        ) from None
    return value


class StaticTokenSettings(Section):
    """One token and whom it speaks for."""

    token: Token | None = None
    """The token itself; better give token_hash."""
    token_hash: Annotated[Secret, AfterValidator(_token_hash)] | None = None
    """The output of `metaproxy hash-token` for the token, so that the file holds no token."""
    user: Named
    """The user that the token speaks for."""
    project: Named | None = None
    """The project that the token is scoped to; null is an unscoped token."""
    roles: tuple[Text, ...] = ()
    """The roles of the user in the project."""
    expires: AwareDatetime | None = None
    """When the token ends, with its zone: 2027-01-01T00:00:00Z; null is never."""

    def findings(self) -> Iterator[Finding]:
        """The token in one form."""
        if (self.token is None) == (self.token_hash is None):
            yield ("token",), "a token is given as token or as token_hash: one of them"

    def digest(self) -> bytes:
        """Return the SHA-256 of the token, by which it is told apart from others."""
        if self.token is not None:
            return fingerprint(self.token.get_secret_value().encode())
        return parse_hash(self.token_hash.get_secret_value()) if self.token_hash is not None else b""


class Static(Tokens):
    """Tokens stand in this file or in one of their own: for tests, appliances and small sites."""

    provider: Literal["static"]
    """keystone-v3, keystone-v2, static or none."""
    tokens: tuple[StaticTokenSettings, ...] = ()
    """The tokens that are valid."""
    tokens_file: File | None = None
    """YAML file with the list in place of tokens, so that it can be kept apart."""

    def findings(self) -> Iterator[Finding]:
        """There is a token, and none stands twice."""
        if not self.tokens:
            where = f"{self.tokens_file} holds none" if self.tokens_file else "nobody could log in"
            yield ("tokens",), f"is empty: {where}; give tokens or tokens_file"
        first: dict[bytes, int] = {}
        for index, token in enumerate(self.tokens):
            if (earlier := first.setdefault(token.digest(), index)) != index:
                yield ("tokens", index), f"is the token of tokens[{earlier}] again"
