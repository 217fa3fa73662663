from metaproxy.exchange import NO_WAITS, Exchange


def test_what_a_flight_waits_for_is_no_other_requests_wait() -> None:
    asked = Exchange("req-1", 1.0)

    asked.for_flight().waited("upstream", 0.5, 2.0)

    assert asked.waits == {}
    assert Exchange("req-2", 1.0).waits == {}
    assert NO_WAITS == {}


def test_a_flight_knows_who_it_is_for_and_adds_nothing_to_their_answer() -> None:
    asked = Exchange("req-1", 1.0, client_address="192.0.2.1")
    asked.waited("identity", 0.1, 1.0)

    flown = asked.for_flight()
    flown.response_headers.append((b"a", b"b"))
    flown.waited("upstream", 0.5, 2.0)

    assert (flown.request_id, flown.client_address) == ("req-1", "192.0.2.1")
    assert asked.response_headers == []
    assert (asked.waits, asked.waits_begun) == ({"identity": 0.1}, {"identity": 1.0})
    assert (flown.waits, flown.waits_begun) == ({"upstream": 0.5}, {"upstream": 2.0})
