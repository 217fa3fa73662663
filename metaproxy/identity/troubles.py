"""Failures of identity, and the faults that clients get.

===================================== ==================== ====== =======================
identity                              trouble              status reason
===================================== ==================== ====== =======================
404 for the token                     (a verdict)          401    token_unknown
400 for the token, 414, 431           (a verdict)          401    token_unknown
200, but the token has expired        (a verdict)          401    token_expired
401 for our service token             renewed once, then LOGIN_REFUSED
login refused (400, 401, 403, 404)    LOGIN_REFUSED        503    identity_login_refused
403 for our service token             FORBIDDEN            503    identity_forbidden
413, 429                              OVERLOADED           503    identity_overloaded
5xx                                   FAILED               503    identity_failed
no answer in time                     TIMEOUT              504    identity_timeout
refused, no route, DNS, TLS           UNREACHABLE          503    identity_unreachable
3xx, another status, no JSON, a field NONSENSE             503    identity_nonsense
missing, an answer without end
404 with a page that is not JSON      NONSENSE             503    identity_nonsense
more validations at once than we hold  BUSY                503    identity_busy
===================================== ==================== ====== =======================

Every trouble has Retry-After: identity's own where it names one, else ``RETRY_AFTER``. Repose and
keystonemiddleware differ (502 or 503 for an unreachable identity, 500 or 503 for a refused login);
ours is 503: from the client's side all of them are one thing, a service that cannot answer now. A timeout
is 504, as Repose has it, because a client may hold it against its own deadline. A 404 that is not JSON
was not written by identity but by something in front of it; to call the token unknown would make
every client throw its good token away.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import httpx

from metaproxy.clock import Clock
from metaproxy.protocol.caching import dates
from metaproxy.protocol.faults import Fault

RETRY_AFTER = 5
"""Seconds that a client is asked to wait where identity names none."""
LONGEST_RETRY_AFTER = 3600
LONGEST_CAUSE = 300
"""Characters of another program's words that are logged and shown to the operator."""


class Trouble(Enum):
    """The ways in which identity can fail to give a verdict. The values are metric labels."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    LOGIN_REFUSED = "login_refused"
    NONSENSE = "nonsense"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and message for the client; the reason goes to the log and the metrics."""

    status: int
    message: str
    reason: str


_UNAVAILABLE = "The identity service is unavailable."

ANSWERS: Mapping[Trouble, Answer] = {
    Trouble.UNREACHABLE: Answer(503, _UNAVAILABLE, "identity_unreachable"),
    Trouble.TIMEOUT: Answer(504, "The identity service did not answer in time.", "identity_timeout"),
    Trouble.OVERLOADED: Answer(503, _UNAVAILABLE, "identity_overloaded"),
    Trouble.FAILED: Answer(503, _UNAVAILABLE, "identity_failed"),
    Trouble.FORBIDDEN: Answer(503, _UNAVAILABLE, "identity_forbidden"),
    Trouble.LOGIN_REFUSED: Answer(503, _UNAVAILABLE, "identity_login_refused"),
    Trouble.NONSENSE: Answer(503, _UNAVAILABLE, "identity_nonsense"),
    Trouble.BUSY: Answer(503, _UNAVAILABLE, "identity_busy"),
}

# Statuses that are no verdict on a token; 5xx stands below, everything else is nonsense.
STATUSES: Mapping[int, Trouble] = {
    403: Trouble.FORBIDDEN,
    408: Trouble.TIMEOUT,
    413: Trouble.OVERLOADED,
    429: Trouble.OVERLOADED,
    504: Trouble.TIMEOUT,
}

# The first class that fits decides.
EXCEPTIONS: tuple[tuple[type[Exception], Trouble], ...] = (
    (httpx.PoolTimeout, Trouble.BUSY),
    (httpx.TimeoutException, Trouble.TIMEOUT),
    (TimeoutError, Trouble.TIMEOUT),
    (httpx.ProtocolError, Trouble.NONSENSE),
    (httpx.DecodingError, Trouble.NONSENSE),
    (httpx.TransportError, Trouble.UNREACHABLE),
    (OSError, Trouble.UNREACHABLE),
)


class IdentityUnavailable(Exception):
    """Identity gave no verdict. ``detail`` says why, to the operator; ``retry_after`` is in seconds."""

    def __init__(self, trouble: Trouble, detail: str = "", *, retry_after: int = RETRY_AFTER) -> None:
        super().__init__(f"{trouble.value}: {detail}" if detail else trouble.value)
        self.trouble = trouble
        self.detail = detail
        self.retry_after = retry_after

    def fault(self) -> Fault:
        """Return what the client is told."""
        answer = ANSWERS[self.trouble]
        return Fault(answer.status, answer.message, reason=answer.reason, retry_after=self.retry_after)


def trouble_of(status: int) -> Trouble:
    """Return what an answer of ``status`` that is no verdict means."""
    if status in STATUSES:
        return STATUSES[status]
    return Trouble.FAILED if status >= 500 else Trouble.NONSENSE


def retry_after(field_value: str | None, wall: Clock) -> int:
    """Return the seconds that a Retry-After field asks for (RFC 9110 §10.2.3), within our bounds."""
    text = (field_value or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        instant = dates.parse(text.encode())
        if instant is None:
            return RETRY_AFTER
        seconds = instant - wall()
    return int(min(max(seconds, 1), LONGEST_RETRY_AFTER))


def printable(words: str) -> str:
    """Return ``words`` of another program as one line of bounded length for the operator."""
    return "".join(character if character.isprintable() else " " for character in words)[:LONGEST_CAUSE]


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a transport raises into IdentityUnavailable."""
    kinds = tuple(kind for kind, _ in EXCEPTIONS)
    try:
        yield
    except kinds as error:
        trouble = next(trouble for kind, trouble in EXCEPTIONS if isinstance(error, kind))
        raise IdentityUnavailable(trouble, _cause(error)) from error


def _cause(error: BaseException) -> str:
    """Return the reason for ``error`` in words: those of the operating system, which contain no token."""
    name = type(error).__name__
    chain: list[BaseException] = []
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, OSError):
        chain.append(reason)
        # An exception that is raised again may be a cause of its own cause.
        reason = None if reason.__cause__ in chain else reason.__cause__
    if isinstance(reason, ssl.SSLError):
        words = getattr(reason, "verify_message", "") or reason.reason
    else:
        words = reason.strerror if reason is not None else ""
    return f"{name}: {printable(words)}" if words else name
