"""The sections about header fields: cors, and those that the operator edits."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from metaproxy.protocol import cross_origin
from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, is_value, name_problem
from metaproxy.protocol.option_values import Regex
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import Duration
from metaproxy.settings.values import Method, Secret
from metaproxy.settings.written import text_of

VALUE = "a field's value is visible ASCII; blanks stand only inside"

Origin = Annotated[
    str,
    text_of(
        "origin",
        rf"\*|{cross_origin.ORIGIN.pattern}",
        "an origin is scheme://host or scheme://host:port in lower case, without a path; or * for every one",
        "https://horizon.example",
    ),
]
FieldName = Annotated[
    str,
    text_of(
        "field name", "[A-Za-z0-9-]+", "a field's name has letters, digits and hyphens alone", "X-Region"
    ),
]


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


class Cors(Section):
    """Which pages in browsers may read answers (CORS)."""

    origins: tuple[Origin, ...] = ()
    """Origins whose pages may: https://horizon.example; * is every page of the world; [] is none."""
    origin_patterns: tuple[Regex, ...] = ()
    """Regular expressions (RE2) that the whole origin fits, for what origins cannot list."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = cross_origin.METHODS
    """Methods that pages may use."""
    request_headers: tuple[FieldName, ...] = cross_origin.REQUEST_HEADERS
    """Header fields that pages may send."""
    response_headers: tuple[FieldName, ...] = cross_origin.RESPONSE_HEADERS
    """Header fields that pages may read."""
    credentials: bool = False
    """Whether browsers send cookies and client certificates along; X-Auth-Token needs none of it."""
    max_age: Duration = 600.0
    """How long a browser need not ask again."""

    @property
    def is_on(self) -> bool:
        """Whether any page may read anything."""
        return bool(self.origins or self.origin_patterns)

    def findings(self) -> Iterator[Finding]:
        """What is for everybody is not for credentials."""
        if cross_origin.ANY in self.origins and (len(self.origins) > 1 or self.origin_patterns):
            yield ("origins",), "* means every origin: remove it, or the others"
        if "ALL" in self.methods:
            yield ("methods",), "browsers know no ALL: name the methods"
        if not self.credentials:
            return
        if cross_origin.ANY in self.origins:
            yield ("credentials",), "does not go with origins: ['*']: any page could act for its visitors"
        for index, pattern in enumerate(self.origin_patterns):
            if cross_origin.fits_everybody(pattern):
                yield (
                    ("origin_patterns", index),
                    "fits every origin, and credentials are on: any page could act for its visitors",
                )


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
    """What is done to the header fields of every request."""

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
    """What is done to the header fields of every answer, refusals included."""

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
    """What is done to the header fields of every request."""
    response: ResponseHeaders = ResponseHeaders()
    """What is done to the header fields of every answer, refusals included."""

    @property
    def is_on(self) -> bool:
        """Whether anything is edited."""
        return self != Headers()
