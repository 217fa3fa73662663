"""Cache-Control: the directives of requests and of responses (RFC 9111 §5.2), and targeted ones (RFC 9213).

Facts this file rests on. Directive names are case-insensitive, and an argument may be a token or a
quoted string whatever the directive (§5.2). Delta-seconds beyond 2^31 mean 2^31 (§1.2.2). An answer
whose freshness information is invalid is to be taken for stale (§4.2.1): a malformed number is zero.
Of several values for one directive the first counts, or the answer is stale (§4.2.1): here, values
that disagree are zero. ``private`` and ``no-cache`` with field names concern only these fields (§5.2.2).
A targeted field replaces Cache-Control and Expires for the caches that it names; one that is empty or
does not parse is as if it were not there (RFC 9213 §2.1).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from metaproxy.protocol import headers

DELTA_MAX = 2**31

MEMO_BYTES = 256
"""Longer fields are read each time: memory is bounded in bytes, not only in entries."""

TARGETED = (b"metaproxy-cache-control", b"cdn-cache-control")
"""The targeted fields that concern this cache, the most specific first (RFC 9213 §2.2)."""

SECONDS = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})

Argument = bytes | None

_DIRECTIVE = re.compile(
    rb"""(?P<name>[^\s,;="]+) (?: = (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<token>[^,"]*) ) )?
         (?P<rest>[^,]*) (?:,|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED_OR_COMMA = re.compile(rb""""(?:[^"\\]|\\.)*"?|,""", re.DOTALL)
_DICTIONARY_MEMBER = re.compile(
    rb"""(?P<item> [a-z*][a-z0-9_.*-]*                                    # a key
         (?:= (?: -?\d{1,15} | "(?:[^"\\]|\\["\\])*" | \?[01] | [A-Za-z*][\w!\#$%&'*+.^`|~:/-]* ) )? )
         (?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^,;"]*)?)*                       # parameters, without meaning
         """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDirectives:
    """The directives of a request. Numbers are seconds; ``max_stale`` may be infinite."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    min_fresh: float = 0.0
    max_stale: float | None = None
    stale_if_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseDirectives:
    """The directives of an answer, about storing and reusing it. Numbers are seconds.

    ``private_fields`` and ``no_cache_fields`` are the header fields that the qualified forms name;
    ``private`` and ``no_cache`` are the unqualified forms. ``targeted`` says that the directives come
    from a targeted field, so that Expires does not count.
    """

    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    private: bool = False
    private_fields: frozenset[bytes] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    max_age: float | None = None
    s_maxage: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    targeted: bool = False


NOTHING_ASKED = RequestDirectives()
NOTHING_SAID = ResponseDirectives()


def parse_request(cache_control: bytes, pragma: bytes = b"") -> RequestDirectives:
    """Return the directives of a request.

    ``pragma`` counts only where there is no Cache-Control: HTTP/1.0 clients still send it (§5.4).
    """
    is_short = len(cache_control) + len(pragma) <= MEMO_BYTES
    return (_parse_request if is_short else _parse_request.__wrapped__)(cache_control, pragma)


@lru_cache(maxsize=512)
def _parse_request(cache_control: bytes, pragma: bytes) -> RequestDirectives:
    if not cache_control:
        members = {member.lower() for member in headers.list_members(pragma)}
        return RequestDirectives(no_cache=True) if b"no-cache" in members else NOTHING_ASKED
    found = _collect(split(cache_control))
    max_stale = _delta(found, b"max-stale")
    if found.get(b"max-stale") == [None]:
        max_stale = float("inf")
    return RequestDirectives(
        no_cache=b"no-cache" in found,
        no_store=b"no-store" in found,
        only_if_cached=b"only-if-cached" in found,
        max_age=_delta(found, b"max-age"),
        min_fresh=_delta(found, b"min-fresh") or 0.0,
        max_stale=max_stale,
        stale_if_error=_delta(found, b"stale-if-error"),
    )


def of_response(fields: headers.Headers) -> ResponseDirectives:
    """Return the directives of a response: from the first valid targeted field, or from Cache-Control."""
    for name in TARGETED:
        if value := _dictionary_items(headers.combined(fields, name)):
            return parse_response(value, targeted=True)
    return parse_response(headers.combined(fields, b"cache-control"))


def parse_response(cache_control: bytes, *, targeted: bool = False) -> ResponseDirectives:
    """Return the directives of a response's Cache-Control, or of a targeted field."""
    is_short = len(cache_control) <= MEMO_BYTES
    return (_parse_response if is_short else _parse_response.__wrapped__)(cache_control, targeted)


@lru_cache(maxsize=512)
def _parse_response(cache_control: bytes, targeted: bool) -> ResponseDirectives:
    if not cache_control:
        return NOTHING_SAID
    found = _collect(split(cache_control))
    if targeted:
        found = {name: arguments for name, arguments in found.items() if arguments != [b"?0"]}
    private_fields, no_cache_fields = _fields(found, b"private"), _fields(found, b"no-cache")
    return ResponseDirectives(
        no_store=b"no-store" in found,
        no_cache=b"no-cache" in found and not no_cache_fields,
        no_cache_fields=no_cache_fields,
        private=b"private" in found and not private_fields,
        private_fields=private_fields,
        public=b"public" in found,
        must_revalidate=b"must-revalidate" in found,
        proxy_revalidate=b"proxy-revalidate" in found,
        must_understand=b"must-understand" in found,
        immutable=b"immutable" in found,
        max_age=_delta(found, b"max-age"),
        s_maxage=_delta(found, b"s-maxage"),
        stale_while_revalidate=_delta(found, b"stale-while-revalidate"),
        stale_if_error=_delta(found, b"stale-if-error"),
        targeted=targeted,
    )


def split(field_value: bytes) -> Iterator[tuple[bytes, Argument]]:
    """Yield name (in lower case) and argument of each directive; None for one without an argument."""
    for found in _DIRECTIVE.finditer(field_value):
        quoted, token, rest = found["quoted"], found["token"], found["rest"].strip()
        if quoted is not None:
            argument: Argument = re.sub(rb"\\(.)", rb"\1", quoted) + rest
        elif token is not None:
            argument = token.strip() + rest
        else:
            # "max-age = 5": what follows the name belongs to it, and makes its number malformed.
            argument = rest or None
        yield found["name"].lower(), argument


def delta_seconds(argument: Argument) -> float:
    """Return a number of seconds (§1.2.2); 0 where ``argument`` is none."""
    if argument is None or not argument.isdigit():
        return 0.0
    return float(min(int(argument[:20]), DELTA_MAX))


def _collect(members: Iterator[tuple[bytes, Argument]]) -> dict[bytes, list[Argument]]:
    found: dict[bytes, list[Argument]] = {}
    for name, argument in members:
        found.setdefault(name, []).append(argument)
    return found


def _delta(found: dict[bytes, list[Argument]], name: bytes) -> float | None:
    arguments: Sequence[Argument] = found.get(name, ())
    if not arguments:
        return None
    values = {delta_seconds(argument) for argument in arguments}
    return values.pop() if len(values) == 1 else 0.0


def _fields(found: dict[bytes, list[Argument]], name: bytes) -> frozenset[bytes]:
    """The fields of a qualified directive; none where it also stands unqualified, which is stricter."""
    arguments = found.get(name, ())
    if any(not argument for argument in arguments):
        return frozenset()
    return frozenset(
        member.lower() for argument in arguments if argument for member in headers.list_members(argument)
    )


def _dictionary_items(field_value: bytes) -> bytes:
    """Return a Structured Fields dictionary (RFC 9651 §3.2) without parameters; b"" for what is none."""
    if not field_value:
        return b""
    found = [_DICTIONARY_MEMBER.fullmatch(member.strip(b" \t")) for member in _members(field_value)]
    items = [match["item"] for match in found if match is not None]
    return b", ".join(items) if len(items) == len(found) and all(map(_has_its_type, items)) else b""


def _has_its_type(item: bytes) -> bool:
    """Return True if a number of seconds is an Integer (RFC 9213 §2.1), not a String or a Boolean."""
    name, _, value = item.partition(b"=")
    return name not in SECONDS or value.removeprefix(b"-").isdigit()


def _members(field_value: bytes) -> list[bytes]:
    """Split at the commas outside of quotes, in time linear in the field's length."""
    members, start = [], 0
    for found in _QUOTED_OR_COMMA.finditer(field_value):
        if found[0] == b",":
            members.append(field_value[start : found.start()])
            start = found.end()
    return [*members, field_value[start:]]
