"""From an answer's head to a stored answer: the rules of storing, freshness and reuse, applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.stored import Stored
from metaproxy.memo import Memo
from metaproxy.protocol import headers
from metaproxy.protocol.caching import dates, directives, freshness, reuse, storing, validation
from metaproxy.protocol.caching.directives import NOTHING_SAID, RequestDirectives, ResponseDirectives
from metaproxy.protocol.caching.freshness import Times
from metaproxy.protocol.caching.reuse import Terms, VaryValues
from metaproxy.protocol.caching.storing import NotStorable


@dataclass(slots=True, kw_only=True)
class Asked:
    """The request that an answer was made for, as far as storing must know it."""

    lines: headers.Headers
    directives: RequestDirectives
    credentials: bool
    """True if it had credentials that nobody here has checked."""
    cookie: bool = False
    """True if it had a cookie, and the answer would be everybody's."""
    tags: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Admitted:
    """An answer that may be stored, but for its body."""

    status: int
    fields: tuple[headers.Header, ...]
    terms: Terms
    vary: VaryValues
    age: float
    """Its age on arrival, in seconds."""
    content_length: int | None
    """How long the body is said to be."""

    @property
    def shareable(self) -> bool:
        """True if all who wait for it may have it without asking the origin themselves."""
        return not self.terms.always_validate and self.terms.lifetime > self.age


SPEAKING = frozenset(
    {
        b"age",
        b"cache-control",
        b"content-encoding",
        b"expires",
        b"pragma",
        b"set-cookie",
        b"set-cookie2",
        *directives.TARGETED,
    }
)
"""Fields with which an answer says something of its storing."""

MEMO_ENTRIES = 1024


def silent_fields(fields: headers.Headers) -> Mapping[bytes, bytes] | None:
    """Return the fields of an answer by name, if it leaves it to the cache what becomes of it.

    So do the compute API's. None for one that says something, or has two fields of one name.
    """
    by_name = dict(fields)
    if len(by_name) != len(fields) or not SPEAKING.isdisjoint(by_name) or b"*" in by_name.get(b"vary", b""):
        return None
    return by_name


class Admission:
    """Judges answers by the operator's policy.

    Args:
        respect_origin: whether what the origin says of freshness goes before a route's ttl.
        hit_status: the status of hits of a 200: 200, or 203.
    """

    def __init__(self, *, respect_origin: bool, hit_status: int) -> None:
        self._respect_origin = respect_origin
        self._hit_status = hit_status
        self._of_kind: Memo[tuple[object, ...], Terms] = Memo(MEMO_ENTRIES)

    def judge(
        self, asked: Asked, route: CacheRoute, status: int, fields: headers.Headers, times: Times
    ) -> Admitted | NotStorable:
        """Decide on an answer whose head has arrived."""
        silent = silent_fields(fields) if route.ttl is not None else None
        if silent is not None:
            return self._judge_silent(asked, route, status, fields, silent, times)
        return self.judge_by_its_word(asked, route, status, fields, times)

    def judge_by_its_word(
        self, asked: Asked, route: CacheRoute, status: int, fields: headers.Headers, times: Times
    ) -> Admitted | NotStorable:
        """Decide as ``judge`` does, on an answer that may say anything."""
        said = directives.of_response(fields)
        verdict = storing.storing(
            status=status,
            fields=fields,
            asked=asked.directives,
            said=said,
            explicit_lifetime=freshness.explicit_lifetime(said, fields, times.received),
            unauthenticated_credentials=asked.credentials,
            cookie=asked.cookie,
            policy=route.policy(
                respect_origin=self._respect_origin,
                heuristic_ttl=freshness.heuristic_lifetime(fields, times.received)
                if route.ttl is None
                else 0.0,
            ),
        )
        if isinstance(verdict, NotStorable):
            return verdict
        terms = reuse.terms(
            verdict.lifetime,
            said,
            stale_while_revalidate=route.stale_while_revalidate,
            stale_if_error=route.stale_if_error,
            respect_origin=self._respect_origin,
        )
        values = dict(reversed(fields))
        return self._admitted(asked, status, fields, values, times, terms, said, reuse.vary_names(fields))

    def _judge_silent(
        self,
        asked: Asked,
        route: CacheRoute,
        status: int,
        fields: headers.Headers,
        by_name: Mapping[bytes, bytes],
        times: Times,
    ) -> Admitted | NotStorable:
        """Decide on an answer that says nothing: what holds for one of its kind was found out before."""
        kind = route.path, status, asked.credentials, asked.cookie, asked.directives.no_store
        terms = self._of_kind.get(kind)
        if terms is None:
            of_kind = self.judge_by_its_word(asked, route, status, (), Times(times.received, times.received))
            if isinstance(of_kind, NotStorable):
                return self.judge_by_its_word(asked, route, status, fields, times)
            terms = self._of_kind.keep(kind, of_kind.terms)
        names = reuse.names_in(by_name.get(b"vary", b""))
        return self._admitted(asked, status, fields, by_name, times, terms, NOTHING_SAID, names)

    def _admitted(
        self,
        asked: Asked,
        status: int,
        fields: headers.Headers,
        values: Mapping[bytes, bytes],
        times: Times,
        terms: Terms,
        said: ResponseDirectives,
        vary_names: Sequence[bytes],
    ) -> Admitted | NotStorable:
        """Admit an answer on ``terms``, if anything could still use it.

        ``values`` has the first value of each of its fields.
        """
        if not storing.WRITTEN_ON_THE_WAY.isdisjoint(vary_names):
            return NotStorable("vary")
        age = freshness.initial_age(values, times)
        if reuse.useful_for(terms) <= age and not validation.conditions(fields):
            return NotStorable("expired")
        return Admitted(
            status=status,
            fields=_dated(storing.stored_fields(fields, said), times.received),
            terms=terms,
            vary=reuse.vary_values(vary_names, asked.lines),
            age=age,
            content_length=_content_length(values),
        )

    def stored(
        self, admitted: Admitted, body: bytes, tags: tuple[str, ...], asked_at: float, now: float
    ) -> Stored:
        """Return what is stored of an answer; ``asked_at`` and ``now`` (its arrival) are monotonic times."""
        return Stored(
            status=admitted.status,
            shown_status=self._hit_status if admitted.status == 200 else admitted.status,
            fields=admitted.fields,
            body=body,
            terms=admitted.terms,
            born=now - admitted.age,
            asked_at=asked_at,
            vary=admitted.vary,
            tags=tags,
        )

    def renewed(
        self,
        stale: Stored,
        asked: Asked,
        route: CacheRoute,
        fields: headers.Headers,
        times: Times,
        asked_at: float,
        now: float,
    ) -> Stored | None:
        """Return ``stale`` as a 304 with ``fields`` renews it; None where it speaks of something else."""
        if not validation.confirms(stale.fields, fields):
            return None
        updated = validation.updated(stale.fields, _dated(list(fields), times.received))
        aged = [field for field in fields if field[0] == b"age"]
        admitted = self.judge(asked, route, stale.status, [*updated, *aged], times)
        if isinstance(admitted, Admitted):
            # The fields that have chosen the content still count, even if the 304 does not name it.
            admitted.vary = _both(stale.vary, admitted.vary)
        if isinstance(admitted, NotStorable):
            # It is right for those who wait for it, and for nobody after them: so without a lifetime.
            admitted = Admitted(
                status=stale.status,
                fields=tuple(updated),
                terms=Terms(lifetime=-1.0, always_validate=True),
                vary=stale.vary,
                age=0.0,
                content_length=None,
            )
        return self.stored(admitted, stale.body, stale.tags, asked_at, now)


def _both(stored: VaryValues, newer: VaryValues) -> VaryValues:
    """Return what an answer varies on by its 200 or by its 304."""
    both = {**dict(stored), **dict(newer)}
    return newer if len(both) == len(newer) else tuple([(name, both[name]) for name in sorted(both)])


def _dated(fields: list[headers.Header], received: float) -> tuple[headers.Header, ...]:
    """Add the time of arrival where the origin gave no Date (RFC 9110 §6.6.1)."""
    if headers.get(fields, b"date") is None:
        fields.append((b"date", dates.render(received)))
    return tuple(fields)


def _content_length(values: Mapping[bytes, bytes]) -> int | None:
    value = values.get(b"content-length")
    return int(value) if value is not None and value.isdigit() else None
