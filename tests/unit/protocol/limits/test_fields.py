from metaproxy.protocol.limits.fields import limit_item, policy_item
from metaproxy.protocol.limits.gcra import Gcra
from metaproxy.protocol.limits.policy import Standing
from tests.filters.limiting import rate


def test_the_policy_names_quota_and_window() -> None:
    rule = rate("reads", limit=1000, burst=50)
    assert policy_item(rule, Gcra.of(rule)) == b'"reads";q=50;w=60'


def test_the_limit_tells_what_remains_and_when_there_is_more() -> None:
    where = Standing(remaining=3, wait_seconds=0, renewal_seconds=7)
    assert limit_item(b'"reads"', where) == b'"reads";r=3;t=7'
