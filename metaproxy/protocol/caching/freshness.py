"""How long an answer is fresh, and how old it is (RFC 9111 §4.2).

Facts this file rests on. In a shared cache s-maxage goes before max-age, and both before Expires minus
Date (§4.2.1). An invalid Expires, above all "0", means already expired (§5.3). The age at arrival is
the larger of what the dates say and what the Age field says plus the time on the way (§4.2.3). If
the origin says nothing a cache may guess (§4.2.2): here the operator's ttl is the guess, or a tenth of the
time since the content was last modified.
"""

from collections.abc import Mapping
from typing import NamedTuple

from metaproxy.protocol import headers
from metaproxy.protocol.caching import dates, validators
from metaproxy.protocol.caching.directives import ResponseDirectives, delta_seconds

HEURISTIC_SHARE = 0.1
"""The share of the time since the last modification for which an answer is fresh (§4.2.2)."""

HEURISTIC_MAX_SECONDS = 86_400.0


class Times(NamedTuple):
    """When a request was sent and its answer received, in wall-clock seconds since the epoch."""

    requested: float
    received: float


def explicit_lifetime(
    directives: ResponseDirectives, fields: headers.Headers, received: float
) -> float | None:
    """Return the seconds for which the origin calls its answer fresh; None where it is silent (§4.2.1)."""
    if directives.s_maxage is not None:
        return directives.s_maxage
    if directives.max_age is not None:
        return directives.max_age
    expires = headers.get_all(fields, b"expires")
    if not expires or directives.targeted:  # RFC 9213 §2.1: a targeted field goes before Expires
        return None
    if len(set(expires)) > 1:
        return 0.0
    expiry = dates.parse(expires[0])
    return 0.0 if expiry is None else max(0.0, expiry - date_of(fields, received))


def heuristic_lifetime(fields: headers.Headers, received: float) -> float:
    """Return the seconds for which an answer may be fresh by its Last-Modified; 0 if it has none (§4.2.2)."""
    value = validators.last_modified(fields)
    modified = dates.parse(value) if value is not None else None
    if modified is None:
        return 0.0
    return min(HEURISTIC_MAX_SECONDS, max(0.0, date_of(fields, received) - modified) * HEURISTIC_SHARE)


def initial_age(values: Mapping[bytes, bytes], times: Times) -> float:
    """Return the age that an answer had when it arrived, in seconds (§4.2.3).

    ``values`` has the first value of each of its fields.
    """
    requested, received = times
    apparent_age = max(0.0, received - _date(values.get(b"date"), received))
    corrected_age = _age(values.get(b"age")) + (received - requested)
    return max(apparent_age, corrected_age)


def date_of(fields: headers.Headers, received: float) -> float:
    """Return the answer's Date; the time of its arrival where there is none that can be read."""
    return _date(headers.get(fields, b"date"), received)


def age_of(fields: headers.Headers) -> float:
    """Return the Age field: its first member, 0 where that is invalid (§5.1)."""
    return _age(headers.get(fields, b"age"))


def _date(value: bytes | None, received: float) -> float:
    date = dates.parse(value) if value is not None else None
    return received if date is None else date


def _age(value: bytes | None) -> float:
    return 0.0 if value is None else delta_seconds(value.partition(b",")[0].strip())
