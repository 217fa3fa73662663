"""A user's project, as mypy --strict sees it: every public name in use, with the types that it promises.

Nothing here runs; the type checker is the test.
"""

from pathlib import Path
from typing import assert_type

from starlette.applications import Starlette
from starlette.middleware import Middleware

import metaproxy
from metaproxy import (
    AccessRule,
    Application,
    ApplicationCredential,
    Authenticate,
    Authorize,
    CachedValidator,
    CacheRoute,
    ConcurrencyLimit,
    Config,
    ConfigError,
    Cors,
    EditHeaders,
    Exchange,
    Fault,
    Forward,
    Guard,
    Identity,
    IdentityHeaders,
    KeystoneV2,
    KeystoneV3,
    Limits,
    LimitsEndpoint,
    MetadataCache,
    MetadataItemLimit,
    Password,
    PasswordV2,
    Rate,
    RateLimit,
    RateRule,
    Rates,
    RequestBodyLimit,
    Signature,
    StaticToken,
    StaticTokens,
    TokenRejected,
    TokenValidator,
    Trace,
    UpstreamTransport,
    create_app,
    exchange_of,
    load_config,
)

assert_type(metaproxy.__version__, str)


class Badges(TokenValidator):
    """A validator of the user's own."""

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Look the token up."""
        if token != b"badge":
            raise TokenRejected("token_unknown")
        return Identity(user_id="u1", project_id="p1", roles=("member",))


def validators() -> list[TokenValidator]:
    """Return one of each kind."""
    transport = UpstreamTransport(connect_timeout=1.0)
    password = Password(username="proxy", password="secret", user_domain_name="Default")
    known = StaticToken(token="t", identity=Identity(user_id="u1"))
    return [
        Badges(),
        StaticTokens([known]),
        KeystoneV3(transport, "https://keystone.example/v3", login=password),
        KeystoneV3(transport, "https://keystone.example/v3", login=ApplicationCredential("id", "secret")),
        KeystoneV2(transport, "https://identity.example/v2.0", login=PasswordV2("proxy", "secret")),
        CachedValidator(Badges(), headers=IdentityHeaders(("openstack",)), ttl=60.0),
    ]


def application() -> Starlette:
    """Return an application behind every stage."""
    rule = RateRule(name="reads", rate=Rate(10, "minute"), methods=("GET",), per=("user",))
    rates = Rates([rule], algorithm="fixed-window")
    return Starlette(
        middleware=[
            Middleware(Trace),
            Middleware(Guard, max_headers=50),
            Middleware(EditHeaders, response={"remove": ["Server"]}),
            Middleware(Cors, origins=["https://horizon.example"], max_age=60.0),
            Middleware(Authenticate, validator=Badges(), anonymous=["/"]),
            Middleware(
                Authorize,
                rules=[
                    AccessRule(path="/**", methods=("GET",), roles=("ANY",)),
                    AccessRule(path="/**", methods=("ALL",), roles=("admin",)),
                ],
            ),
            Middleware(ConcurrencyLimit, max=10, limits=Limits(over_limit_status=429)),
            Middleware(RequestBodyLimit, max_bytes=2**20),
            Middleware(RateLimit, rates=rates),
            Middleware(LimitsEndpoint, rates=rates, path="/limits"),
            Middleware(RateLimit, rules=[rule]),
            Middleware(MetadataItemLimit, returned=1000, held=40),
            Middleware(MetadataCache, routes=[CacheRoute(path="/images/{image_id}", ttl=60.0)]),
        ],
    )


def proxy() -> Trace:
    """Return a small reverse proxy."""
    forward = Forward(UpstreamTransport(), targets=["http://127.0.0.1:8774"])
    return Trace(forward, signature=Signature(b"1.1 small"))


def whole_line(path: Path) -> Application | None:
    """Return the line that a file describes."""
    try:
        config = load_config(path)
    except ConfigError:
        return None
    assert_type(config, Config)
    assert_type(create_app(config), Application)
    return create_app(config, previous=create_app(config))


def who(scope: dict[str, object]) -> str:
    """Return the user of a request, as an application behind Authenticate learns it."""
    exchange = exchange_of(scope)
    assert_type(exchange, Exchange)
    if exchange.identity is None:
        raise Fault(403, "Who are you?", reason="role_missing")
    return exchange.identity.user_id
