"""Answers as HTTP/1.1 writes them (RFC 9112 §2.1)."""

from collections.abc import Sequence

from starlette.types import Scope

from metaproxy.asgi import fault_answer
from metaproxy.exchange import Exchange
from metaproxy.memo import Memo
from metaproxy.protocol.compute_api import FORMATS
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.header_edits import HeaderEdits
from metaproxy.protocol.headers import Header, combined, lines
from metaproxy.protocol.signature import Signature
from metaproxy.protocol.status_lines import STATUS_LINE
from metaproxy.telemetry.dates import DateField

MEMO_ENTRIES = 1024
MEMO_ACCEPT_BYTES = 256


AnswerKind = tuple[bytes, str, bool]

ANSWER_KIND = "metaproxy.answer_kind"
"""The key of a plan's scope under which ``answer_kind`` of it stands."""


def answer_kind(scope: Scope) -> AnswerKind:
    """Return what of a request decides how a fault is told to it."""
    path = scope["path"]
    suffix = next((suffix for suffix in FORMATS if path.endswith(suffix)), "")
    return combined(scope["headers"], b"accept"), suffix, scope["method"] == "HEAD"


class Writer:
    """Writes every answer that takes no task: hits, refusals, and what an upstream has answered.

    ``Trace.head`` says the same in pairs, for answers that an ASGI application gives.

    Args:
        signature: has the fields of every answer.
        date: makes the Date field.
    """

    def __init__(self, signature: Signature, date: DateField) -> None:
        self._date = date
        self._signature = signature
        self._until_id = _until_id(signature)

    def whole(
        self,
        head: bytes,
        request_id: str,
        body: bytes,
        *,
        is_dated: bool,
        keep_alive: bool,
        version: str = "1.1",
    ) -> bytes:
        """Return the whole answer that begins with ``head``, a status line and header lines after all edits.

        ``is_dated`` is whether Date is among them. Without ``keep_alive`` the answer says that the
        connection ends. ``version`` is that of HTTP in which an upstream's answer came.
        """
        until_id = self._until_id if version == "1.1" else _until_id(self._signature, version)
        date = b"" if is_dated else b"\r\ndate: " + self._date()
        end = b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"
        return b"".join((head, until_id, request_id.encode("ascii"), date, end, body))


def _until_id(signature: Signature, version: str = "1.1") -> bytes:
    return lines(signature.fields(version)) + b"x-compute-request-id: "


def edited(head: bytes, edits: HeaderEdits | None) -> bytes:
    """Return ``head``, a status line and header lines, after ``edits``."""
    return head if edits is None else edits.apply_to_lines(head)


def passed_head(status: int, fields: Sequence[Header], exchange: Exchange) -> bytes:
    """Return the head of an upstream's answer without its id of the request, for ``Writer.whole``."""
    kept = [field for field in fields if field[0] != b"x-compute-request-id"]
    head = STATUS_LINE[status] + lines(kept + exchange.response_headers)
    return edited(head, exchange.response_edits)


class Refusals:
    """The common octets of answers to the same fault, written once."""

    def __init__(self) -> None:
        self._known: Memo[tuple[object, ...], tuple[bytes, bytes]] = Memo(MEMO_ENTRIES, MEMO_ACCEPT_BYTES)
        self._kept: Memo[tuple[Fault, AnswerKind], tuple[bytes, bytes]] = Memo(MEMO_ENTRIES)

    def of_kept(self, fault: Fault, scope: Scope) -> tuple[bytes, bytes]:
        """Do what ``of`` does for a fault that others are told, too, and a scope with its kind of answer."""
        key = fault, scope[ANSWER_KIND]
        known = self._kept.get(key)
        if known is None:
            known = self._kept.keep(key, self.of(fault, scope))
        return known

    def of(self, fault: Fault, scope: Scope) -> tuple[bytes, bytes]:
        """Return the answer that tells ``fault`` up to the last of its own fields, and the body."""
        kind = scope.get(ANSWER_KIND) or answer_kind(scope)
        key = fault.status, fault.message, fault.details, fault.retry_after, fault.headers, fault.close, kind
        known = self._known.get(key)
        if known is None:
            fields, body = fault_answer(fault, scope)
            known = STATUS_LINE[fault.status] + lines(fields), body
            self._known.keep(key, known, len(kind[0]))
        return known
