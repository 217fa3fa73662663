"""Messages between the hub in the supervisor and its clients in the workers, over one socket pair a worker.

    worker -> hub    Take         charge counters, and lend beside that
                     Swap         take slices back, and lend new ones
                     Reset        forget the counters of a consumer
                     Publish      send a payload to every worker that subscribes to a channel
                     Subscribe    send this worker what is published on a channel
                     Unsubscribe  stop that
                     Record       record revocations
                     Recall       return the revocations that were recorded
                     Enter        make the slot of a request that runs, if there are few
                     Renew        let slots count for one more lease
                     Leave        end slots
                     Beat         answer, after all that was published before
    hub -> worker    Charged, Lending, Number, Recalled    the answers, in the order of the requests
                     Delivery     a payload that was published
                     Missed       payloads were published that this worker did not read in time

A message is MessagePack. The hub reads the types below and nothing else: other bytes are an error. Both ends
are one program of one process tree, so the messages have no version.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from metaproxy.store.counters import Exchanged, Taken
from metaproxy.store.hub.frames import MessageError
from metaproxy.store.hub.frames import framed as framed_content

MAX_ENTRIES = 256
"""Revocations in one message."""
MAX_KEY = 1024
"""Characters of a counter's key."""

Name = Annotated[str, Meta(max_length=128)]
Entry = tuple[bytes, Annotated[float, Meta(ge=0)]]
"""A revocation as it is sent to other processes, and the seconds since it was made."""
Consumer = Annotated[str, Meta(max_length=MAX_KEY)]
SlotName = Annotated[bytes, Meta(max_length=64)]
Requests = Annotated[int, Meta(ge=0, le=2**53)]
Units = Annotated[int, Meta(ge=1, le=2**62)]


class Message(msgspec.Struct, array_like=True, gc=False):
    """The base of all messages."""


class RatedCounter(Message):
    """A counter with the numbers of its policy. ``is_window`` tells a fixed window from a leaking bucket."""

    key: Annotated[str, Meta(max_length=MAX_KEY)]
    is_window: bool
    weight: Units
    capacity: Units
    pace: Units


class SliceReport(Message):
    """See ``store.counters.Return``."""

    counter: RatedCounter
    mark: tuple[int, int]
    spent: Requests
    unused: Requests


class SliceWish(Message):
    """See ``store.counters.Wish``."""

    counter: RatedCounter
    requests: Requests


class Take(Message, tag=1):
    """Charge ``cost`` to every counter or to none: -1 takes a charge back, 0 looks. Then lend ``wishes``."""

    counters: Sequence[RatedCounter]
    cost: Annotated[int, Meta(ge=-1, le=1)]
    wishes: Sequence[Requests] = ()


class Swap(Message, tag=2):
    """Take slices back, then lend new ones."""

    returns: Sequence[SliceReport]
    wishes: Sequence[SliceWish]


class Reset(Message, tag=3):
    """Forget every counter of ``consumer``."""

    consumer: str


class Publish(Message, tag=4):
    """Send ``payload`` to every worker that subscribes to ``channel``."""

    channel: Name
    payload: bytes


class Subscribe(Message, tag=5):
    """Send what is published on ``channel`` from now on."""

    channel: Name


class Unsubscribe(Message, tag=6):
    """Send nothing of ``channel`` from now on."""

    channel: Name


class Record(Message, tag=7):
    """Record revocations."""

    entries: Annotated[tuple[Entry, ...], Meta(max_length=MAX_ENTRIES)]


class Recall(Message, tag=8):
    """Return the first revocations that were recorded after the one numbered ``since``."""

    since: Annotated[int, Meta(ge=0)]


class Enter(Message, tag=9):
    """Make ``slot`` if ``consumer`` has fewer than ``maximum``."""

    consumer: Consumer
    slot: SlotName
    maximum: Requests


class Renew(Message, tag=10):
    """Let the slots count for one more lease. ``slots`` are by consumer."""

    slots: Mapping[Consumer, Sequence[SlotName]]


class Leave(Message, tag=11):
    """End the slots. ``slots`` are by consumer."""

    slots: Mapping[Consumer, Sequence[SlotName]]


class Beat(Message, tag=12):
    """Answer."""


class Charged(Message, tag=21):
    """The answer to ``Take``."""

    taken: Taken


class Lending(Message, tag=22):
    """The answer to ``Swap``."""

    exchanged: Exchanged


class Number(Message, tag=23):
    """A number: of counters that were reset, workers that were reached, slots that were made; else 0."""

    count: int


class Recalled(Message, tag=24):
    """Recorded revocations. If ``more`` is true there may be others: ask again with ``until``."""

    entries: tuple[Entry, ...]
    until: int
    is_whole: bool
    more: bool


class Delivery(Message, tag=25):
    """A payload that was published on ``channel``."""

    channel: Name
    payload: bytes


class Missed(Message, tag=26):
    """Payloads were published that are not sent, because this worker did not read."""


StateRequest = Take | Swap | Reset | Record | Recall | Enter | Renew | Leave
Request = StateRequest | Publish | Subscribe | Unsubscribe | Beat
Answer = Charged | Lending | Number | Recalled
FromHub = Charged | Lending | Number | Recalled | Delivery | Missed

_encode = msgspec.msgpack.Encoder().encode
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_from_hub: msgspec.msgpack.Decoder[FromHub] = msgspec.msgpack.Decoder(FromHub)


def framed(number: int, message: Request | FromHub) -> bytes:
    """Return ``message`` as it goes over the socket; raises MessageError if it cannot be sent."""
    return framed_content(number, packed(message))


def packed(message: Request | FromHub) -> bytes:
    """Return ``message`` as the content of a frame; raises MessageError if it cannot be sent."""
    try:
        return _encode(message)
    except OverflowError as error:  # a number of more than 64 bits
        raise MessageError(str(error)) from error


def read_request(content: bytes) -> Request:
    """Return the request of a worker in ``content``; raises MessageError."""
    try:
        return _requests.decode(content)
    except msgspec.MsgspecError as error:
        raise MessageError(str(error)) from error


def read_from_hub(content: bytes) -> FromHub:
    """Return the message of the hub in ``content``; raises MessageError."""
    try:
        return _from_hub.decode(content)
    except msgspec.MsgspecError as error:
        raise MessageError(str(error)) from error
