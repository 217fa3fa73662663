"""The broadcast within one process."""

from metaproxy.store.broadcast import LocalBroadcast


def nothing_lost() -> None:
    raise AssertionError("a local broadcast loses nothing")


async def test_every_subscription_gets_the_payload_before_publish_returns() -> None:
    broadcast = LocalBroadcast()
    first: list[bytes] = []
    second: list[bytes] = []
    broadcast.subscribe("purges", first.append, nothing_lost)
    broadcast.subscribe("purges", second.append, nothing_lost)

    await broadcast.publish("purges", b"one")

    assert (first, second) == ([b"one"], [b"one"])


async def test_channels_are_apart() -> None:
    broadcast = LocalBroadcast()
    received: list[bytes] = []
    broadcast.subscribe("purges", received.append, nothing_lost)

    await broadcast.publish("revocations", b"one")

    assert received == []


async def test_nothing_is_received_after_unsubscribing() -> None:
    broadcast = LocalBroadcast()
    received: list[bytes] = []
    unsubscribe = broadcast.subscribe("purges", received.append, nothing_lost)

    unsubscribe()
    await broadcast.publish("purges", b"one")

    assert received == []
