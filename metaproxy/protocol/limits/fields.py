"""The RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-10).

``RateLimit-Policy`` lists the quotas that apply: ``"name";q=<quota>;w=<window in seconds>``.
``RateLimit`` lists where the consumer stands: ``"name";r=<remaining>;t=<seconds until more>``.
Both are lists of structured fields (RFC 9651). Retry-After must not name an earlier moment than ``t``
(section 5); with both algorithms the two are equal for a rule that refuses.
"""

from metaproxy.protocol.limits.policy import MICROSECONDS, Policy, State
from metaproxy.protocol.limits.rates import RateRule

POLICY = b"ratelimit-policy"
LIMIT = b"ratelimit"


def policy_item(rule: RateRule, policy: Policy) -> bytes:
    """Return the RateLimit-Policy item of ``rule``; the quota is what fits at once."""
    quota = policy.capacity // policy.weight
    return b'"%s";q=%d;w=%d' % (rule.name.encode("ascii"), quota, rule.period_seconds)


def limit_item(quoted_name: bytes, policy: Policy, settled: State, now: int) -> bytes:
    """Return the RateLimit item of a rule, given the settled state of the consumer's counter."""
    remaining, renewal = policy.standing(settled, now)
    return b"%b;r=%d;t=%d" % (quoted_name, remaining, -(-renewal // MICROSECONDS))
