"""The section about header fields that the operator edits."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, is_value, name_problem
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.values import FieldName, Secret

VALUE = "a field's value is visible ASCII; blanks stand only inside"


def _value(text: str) -> str:
    if not is_value(text):
        raise ValueError(VALUE)
    return text


def _secret_value(secret: SecretStr) -> SecretStr:
    _value(secret.get_secret_value())
    return secret


def _reserved(section: "RequestHeaders | ResponseHeaders", reserved: frozenset[bytes]) -> Iterator[Finding]:
    for index, name in enumerate(section.remove):
        if problem := name_problem(name, reserved):
            yield ("remove", index), problem
    for key in ("set", "add"):
        for index, field in enumerate(getattr(section, key)):
            if problem := name_problem(field.name, reserved):
                yield (key, index, "name"), problem


class RequestField(Section):
    """A header field for the upstream."""

    name: FieldName
    """The field's name."""
    value: Annotated[Secret, AfterValidator(_secret_value)]
    """Its value; taken for a secret, so that no page or log shows it."""


class ResponseField(Section):
    """A header field for the client."""

    name: FieldName
    """The field's name."""
    value: Annotated[str, AfterValidator(_value)]
    """Its value."""


class RequestHeaders(Section):
    """Edits of the header fields of every request."""

    remove: tuple[FieldName, ...] = ()
    """Fields of the client that the upstream does not get."""
    set: tuple[RequestField, ...] = ()
    """Fields that the upstream gets in place of the client's of that name."""
    add: tuple[RequestField, ...] = ()
    """Fields that the upstream gets beside the client's of that name."""

    def findings(self) -> Iterator[Finding]:
        """Nothing that carries identity, tokens or framing."""
        return _reserved(self, REQUEST_RESERVED)


class ResponseHeaders(Section):
    """Edits of the header fields of every answer, refusals included."""

    remove: tuple[FieldName, ...] = ()
    """Fields that the client does not get."""
    set: tuple[ResponseField, ...] = ()
    """Fields that the client gets in place of any of that name."""
    add: tuple[ResponseField, ...] = ()
    """Fields that the client gets beside any of that name."""

    def findings(self) -> Iterator[Finding]:
        """Nothing that framing, caches and clients go by."""
        return _reserved(self, RESPONSE_RESERVED)


class Headers(Section):
    """Header fields that are taken off, replaced or added."""

    request: RequestHeaders = RequestHeaders()
    """Edits of the header fields of every request."""
    response: ResponseHeaders = ResponseHeaders()
    """Edits of the header fields of every answer, refusals included."""

    @property
    def is_on(self) -> bool:
        """True if anything is edited."""
        return self != Headers()
