"""What a known token costs on the hot path: ``python -m tests.bench.identity``.

Times the synchronous decisions of Authenticate and Authorize alone, in one process, on the head of an
ordinary request. The best of several rounds counts: the others met something else on the machine.
"""

import argparse
import asyncio
import timeit
from collections.abc import Callable
from typing import Any

from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.authorize import Authorize
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.static import StaticToken, StaticTokens
from metaproxy.protocol.access_rules import AccessRule
from metaproxy.protocol.identity_headers import strip

TOKEN = "gAAAAABn" + "x" * 175
"""As long as a Fernet token of Keystone."""
PATH = "/v2.1/p1/images/70a599e0-31e7-49b7-b260-868f441e862b/metadata/label"
HEADERS = [
    (b"host", b"compute.example:8774"),
    (b"user-agent", b"openstacksdk/4.5.0 keystoneauth1/5.10.0 python-requests/2.32.3"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"x-auth-token", TOKEN.encode()),
    (b"openstack-api-version", b"compute 2.1"),
    (b"x-openstack-request-id", b"req-70a599e0-31e7-49b7-b260-868f441e862b"),
]
ALICE = Identity(user_id="u1", user_name="alice", project_id="p1", project_name="one", roles=("member",))
RULE = AccessRule(
    path="/v2.1/{tenant_id}/images/{image_id}/metadata/**",
    methods=("PUT", "POST", "DELETE"),
    roles=("member",),
)


def main() -> None:
    """Print microseconds a request, for each decision and both together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for name, statement in statements().items():
        seconds = min(timeit.repeat(statement, number=arguments.requests, repeat=arguments.rounds))
        print(f"{name:<32}{seconds / arguments.requests * 1e6:8.2f} us")


def statements() -> dict[str, Callable[[], object]]:
    """Return what is timed, by name. An Exchange and a scope are made for each request, and counted apart."""
    validator = CachedValidator(
        StaticTokens([StaticToken(token=TOKEN, identity=ALICE)]),
        headers=IdentityHeaders(("openstack", "repose")),
    )
    asyncio.run(_warmed(validator))
    authenticate = Authenticate(
        validator=validator, advertise="http://keystone.example/v3", removes_forged=False
    )
    authorize = Authorize(_no_upstream, rules=[RULE])

    def made() -> tuple[Exchange, dict[str, Any]]:
        exchange = Exchange(request_id="r", started=0.0)
        return exchange, {"path": PATH, "method": "GET", "headers": HEADERS, "raw_path": PATH.encode()}

    def both() -> None:
        exchange, scope = made()
        authenticate.decide(exchange, scope)
        authorize.decide(exchange, scope)

    return {
        "strip identity headers": lambda: strip(HEADERS),
        "make an Exchange and a scope": made,
        "authenticate": lambda: authenticate.decide(*made()),
        "authenticate and authorize": both,
    }


async def _warmed(validator: CachedValidator) -> None:
    await validator.resolve(TOKEN.encode())
    await validator.close()


async def _no_upstream(*_: object) -> None:
    raise AssertionError("only decisions are timed")


if __name__ == "__main__":
    main()
