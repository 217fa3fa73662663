from metaproxy.protocol.limits.fields import limit_item, policy_item
from metaproxy.protocol.limits.gcra import Gcra
from tests.filters.limiting import rate


def test_the_policy_names_quota_and_window() -> None:
    rule = rate("reads", limit=1000, burst=50)
    assert policy_item(rule, Gcra.of(rule)) == b'"reads";q=50;w=60'


def test_the_limit_tells_what_remains_and_when_there_is_more() -> None:
    bucket = Gcra.of(rate(limit=6))
    assert limit_item(b'"reads"', bucket, (2 * bucket.weight, 0), 0) == b'"reads";r=4;t=10'
