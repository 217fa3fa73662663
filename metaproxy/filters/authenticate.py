"""Stage 3: who is asking.

The token in X-Auth-Token (or its old synonym X-Storage-Token) becomes an Identity, from the token
cache or from identity itself. The identity headers for the upstream are written here and nowhere else: the
client's own are gone before.
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal, TypeAlias

from starlette.types import ASGIApp, Scope

from metaproxy import verdicts
from metaproxy.check import Check, TargetCheck, always, no_application
from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import Exchange, HeaderPairs, Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.guesses import GuessesExceeded
from metaproxy.identity.rendering import DELEGATED, SERVICE_DELEGATED, service_twins
from metaproxy.identity.troubles import IdentityUnavailable
from metaproxy.identity.validator import Rejected, TokenValidator, Verdict
from metaproxy.protocol import credential_rules
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header
from metaproxy.protocol.identity_headers import SERVICE_TOKEN, STORAGE_TOKEN, TOKEN, TOKEN_FIELDS, strip
from metaproxy.protocol.open_paths import OpenPaths
from metaproxy.verdicts import PASS, Wait

OnMissing: TypeAlias = Literal["reject", "delegate", "delegate-always"]

MISSING = Rejected("token_missing")
INVALID_TOKEN = "The token is not valid."  # noqa: S105 - a message
MESSAGES = {
    "token_missing": "A token is needed.",
    "token_expired": "The token has expired.",
    "token_too_long": "The token is too long.",
    "access_rules": "The access rules of the application credential do not allow this request.",
}

MAX_TOKEN_BYTES = 16384
"""The longest line of a head that OpenStack's own servers read."""

# Visible ASCII (RFC 9110 §5.5 without obs-text and blanks).
_TOKEN = re.compile(rb"[!-~]+")
# An empty or dot segment, or an escaped slash, backslash or dot: not a normal form (RFC 3986 §6.2).
_AMBIGUOUS = re.compile(r"//|\\|/\.{1,2}(/|$)")
_ESCAPED = re.compile(rb"%(2[ef]|5c)", re.IGNORECASE)


class Authenticate(Check):
    """Lets requests with a valid token through, and those to anonymous paths without looking.

    Answers 401 to a missing or rejected token, 400 to two different ones, 503 or 504 where identity
    gives no verdict, 413 to an unknown token of an address that has tried too many. Writes
    ``exchange.identity`` and ``exchange.service_identity``, and replaces ``scope["headers"]``.

    Args:
        validator: knows tokens, or asks; one that is no CachedValidator gets a token cache with its defaults.
        advertise: the identity service that WWW-Authenticate names, if any.
        anonymous: path templates that need no token.
        on_missing: what becomes of a request without a valid token: ``reject`` answers 401,
            ``delegate`` passes it on as X-Identity-Status: Invalid, ``delegate-always`` does so even where
            identity gives no verdict.
        service_roles: a service token needs one of these roles.
        accept_expired: whether a valid service token lets an expired token through.
        max_token_bytes: longer tokens are rejected without asking.
        over_limit_status: the answer to an address that has tried too many tokens, 413 or 429.
        removes_forged: False if an earlier check has taken the client's own identity headers off.
    """

    def __init__(
        self,
        app: ASGIApp = no_application,
        *,
        validator: TokenValidator,
        advertise: str = "",
        anonymous: OpenPaths | Iterable[str] = (),
        on_missing: OnMissing = "reject",
        service_roles: Iterable[str] = ("service",),
        accept_expired: bool = False,
        max_token_bytes: int = MAX_TOKEN_BYTES,
        over_limit_status: Literal[413, 429] = 413,
        removes_forged: bool = True,
        monotonic: Clock = monotonic,
    ) -> None:
        self.app = app
        self.validator = validator if isinstance(validator, CachedValidator) else CachedValidator(validator)
        challenge = f'Keystone uri="{advertise}"' if advertise else "Keystone"
        self._challenge = ((b"www-authenticate", challenge.encode()),)
        self._anonymous = anonymous if isinstance(anonymous, OpenPaths) else OpenPaths(anonymous)
        self.holds_for_kinds = self._anonymous.is_shaped
        self._delegates = on_missing != "reject"
        self._delegates_always = on_missing == "delegate-always"
        self._service_roles = frozenset(service_roles)
        self._accept_expired = accept_expired
        self._max_token_bytes = max_token_bytes
        self._over_limit_status = over_limit_status
        self._removes_forged = removes_forged
        self._monotonic = monotonic

    def decide(self, exchange: Exchange, scope: Scope) -> verdicts.Verdict:
        """Decide from memory, or wait for identity."""
        headers = strip(scope["headers"]) if self._removes_forged else scope["headers"]
        if self._is_anonymous(scope):
            scope["headers"] = [*headers, *DELEGATED]
            return PASS
        tokens = _tokens(headers)
        if isinstance(tokens, Fault):
            return tokens
        user_token, service_token = tokens
        service: Verdict | None = None
        user: Verdict | None = None
        if service_token:
            service = self._service_verdict(self.validator.known(service_token), scope)
        if service is not None or not service_token:
            allow_expired = self._lets_expired_pass(service)
            user = self.validator.known(user_token, allow_expired=allow_expired) if user_token else MISSING
        if user is None:
            return Wait(partial(self._ask, exchange, scope, headers, user_token, service_token))
        return self._conclude(exchange, scope, headers, user, service)

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck | None:
        """Let pass what needs a token, unless the token has access rules, which rest on the target."""
        if exchange.identity is not None and exchange.identity.access_rules is not None:
            return None
        return None if self._is_anonymous(scope) else always

    async def _ask(
        self,
        exchange: Exchange,
        scope: Scope,
        headers: Sequence[Header],
        user_token: bytes,
        service_token: bytes,
    ) -> verdicts.Verdict:
        """Ask identity about the tokens that are not known."""
        started = self._monotonic()
        address = exchange.client_address
        service: Verdict | None = None
        user: Verdict = MISSING
        try:
            if service_token:
                service = self._service_verdict(await self._resolve(service_token, address), scope)
            if user_token:
                allow_expired = self._lets_expired_pass(service)
                user = await self._resolve(user_token, address, allow_expired=allow_expired)
        except GuessesExceeded as error:
            return self._over_limit(error.retry_after)
        except IdentityUnavailable as error:
            return error.fault()
        finally:
            exchange.waited("identity", self._monotonic() - started, started)
        return self._conclude(exchange, scope, headers, user, service)

    def _over_limit(self, seconds: int) -> Fault:
        message = f"Too many tokens that are not valid were tried. Retry after {seconds} seconds."
        return Fault(self._over_limit_status, message, reason="guesses_exceeded", retry_after=seconds)

    async def _resolve(self, token: bytes, address: str, *, allow_expired: bool = False) -> Verdict:
        # Identity need not be asked about what cannot be a token, and could not be sent.
        if len(token) > self._max_token_bytes:
            return Rejected("token_too_long")
        if not _TOKEN.fullmatch(token):
            return Rejected("token_unknown")
        try:
            return await self.validator.resolve(token, allow_expired=allow_expired, address=address)
        except IdentityUnavailable:
            if self._delegates_always:
                return Rejected("identity_unavailable")
            raise

    def _conclude(
        self,
        exchange: Exchange,
        scope: Scope,
        headers: Sequence[Header],
        user: Verdict,
        service: Verdict | None,
    ) -> verdicts.Verdict:
        """Write what is known of the tokens into ``exchange`` and ``scope``, or refuse."""
        if isinstance(user, Identity) and not isinstance(service, Identity):
            user = _within_rules(user, scope)
        told: HeaderPairs = DELEGATED
        if isinstance(user, Identity):
            exchange.identity = user
            told = user.header_pairs
        elif not self._delegates:
            message = MESSAGES.get(user.reason, INVALID_TOKEN)
            return Fault(401, message, reason=user.reason, headers=self._challenge)
        if isinstance(service, Identity):
            exchange.service_identity = service
            told += service_twins(service)
        elif service is not None:
            if not self._delegates:
                message = "The service token is not valid."
                return Fault(401, message, reason="service_token_rejected", headers=self._challenge)
            told += SERVICE_DELEGATED
        scope["headers"] = [*headers, *told]
        return PASS

    def _service_verdict(self, verdict: Verdict | None, scope: Scope) -> Verdict | None:
        """Return ``verdict``, or a rejection where a service token has none of the roles."""
        if isinstance(verdict, Identity):
            if self._service_roles.isdisjoint(verdict.roles):
                return Rejected("token_unknown")
            return _within_rules(verdict, scope)
        return verdict

    def _lets_expired_pass(self, service: Verdict | None) -> bool:
        return self._accept_expired and isinstance(service, Identity)

    def _is_anonymous(self, scope: Scope) -> bool:
        """Say whether the path needs no token: in its normal form, whatever the client wrote."""
        path = scope["path"]
        if not self._anonymous.has(path):
            return False
        return not _AMBIGUOUS.search(path) and not _ESCAPED.search(scope.get("raw_path") or b"")


def _tokens(headers: Iterable[Header]) -> tuple[bytes, bytes] | Fault:
    """Return the user's token and the service token, empty if there is none; or the refusal."""
    found = [pair for pair in headers if pair[0] in TOKEN_FIELDS]
    if len(found) == 1 and found[0][0] == TOKEN:
        return found[0][1], b""
    values: dict[bytes, bytes] = {}
    for name, value in found:
        if name in values:
            return Fault(400, f"{name.decode()} stands twice.", reason="token_ambiguous")
        values[name] = value
    storage_token = values.get(STORAGE_TOKEN, b"")
    user_token = values.get(TOKEN, storage_token)
    if storage_token and storage_token != user_token:
        return Fault(400, "x-auth-token and x-storage-token differ.", reason="token_ambiguous")
    return user_token, values.get(SERVICE_TOKEN, b"")


def _within_rules(identity: Identity, scope: Scope) -> Verdict:
    """Return ``identity``, or a rejection of a request that its access rules do not allow.

    With a valid service token, a user's rules are not asked: the user made another request, to that service.
    """
    rules = identity.access_rules
    if rules is None or credential_rules.allow(rules, scope["method"], scope["path"], scope["raw_path"]):
        return identity
    return Rejected("access_rules")
