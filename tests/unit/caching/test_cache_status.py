"""RFC 9211: Cache-Status."""

from metaproxy.protocol.caching import cache_status


def test_a_hit_tells_how_long_it_stays_fresh() -> None:
    assert cache_status.hit("metaproxy", 57.9) == "metaproxy; hit; ttl=57"


def test_a_stale_hit_has_a_negative_ttl() -> None:
    assert cache_status.hit("metaproxy", -0.5) == "metaproxy; hit; ttl=-1"


def test_a_hit_may_tell_where_it_comes_from() -> None:
    assert cache_status.hit("metaproxy", 57, "collection") == "metaproxy; hit; ttl=57; detail=collection"


def test_a_miss_tells_why_it_went_forward() -> None:
    assert cache_status.forwarded("metaproxy", "uri-miss") == "metaproxy; fwd=uri-miss"


def test_a_stored_answer_tells_that_and_its_ttl() -> None:
    told = cache_status.forwarded("metaproxy", "uri-miss", ttl=60, stored=True)

    assert told == "metaproxy; fwd=uri-miss; ttl=60; stored"


def test_a_shared_flight_is_told_as_collapsed() -> None:
    assert (
        cache_status.forwarded("metaproxy", "uri-miss", collapsed=True)
        == "metaproxy; fwd=uri-miss; collapsed"
    )


def test_a_validation_tells_what_the_origin_answered() -> None:
    assert cache_status.forwarded("metaproxy", "stale", status=304) == "metaproxy; fwd=stale; fwd-status=304"


def test_a_bypass_may_tell_its_reason() -> None:
    assert (
        cache_status.forwarded("metaproxy", "bypass", detail="body") == "metaproxy; fwd=bypass; detail=body"
    )
