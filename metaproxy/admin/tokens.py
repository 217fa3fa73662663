"""``/tokens``: what the token cache holds, and revocation of what identity has not told us about."""

import msgspec

from metaproxy.admin.operation import Operation, Refusal
from metaproxy.admin.service import TOLD_LATER, Service
from metaproxy.identity.revocation import Revocation, RevocationError
from metaproxy.identity.revocations import NotRecorded


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """The tokens to revoke: one ``token``, or what all the other attributes given match together."""

    token: str = ""
    """A whole token; it is neither kept nor logged."""
    fingerprint: str = ""
    """The SHA-256 of a token, in hexadecimal."""
    audit_id: str = ""
    user_id: str = ""
    project_id: str = ""
    domain_id: str = ""


class Revoked(msgspec.Struct, omit_defaults=True):
    """How many verdicts this process had on what was revoked.

    ``replicas_told``: all replicas have revoked it. ``workers_told``: all workers of this process have.
    """

    forgotten: int
    replicas_told: bool = False
    workers_told: bool = False
    """Left out if it is false. Without ``store.url`` the workers of one supervisor alone are told."""


def operations(service: Service) -> list[Operation]:
    """Return the operation that revokes."""

    async def revoke(asked: Revoke) -> Revoked:
        revocations = service.application.revocations
        if revocations is None:
            raise Refusal(409, "tokens are not validated here: identity.provider is none")
        try:
            forgotten = await revocations.revoke(revocation(asked))
            sharers = service.application.sharers
            return Revoked(forgotten, replicas_told=sharers == "replicas", workers_told=sharers == "workers")
        except NotRecorded as error:
            raise Refusal(
                503,
                "revoked in the processes that run; those that start later could not be told yet: "
                f"{TOLD_LATER}",
            ) from error
        except OSError as error:
            raise Refusal(
                503, f"revoked in this process; the others could not be told yet: {TOLD_LATER}"
            ) from error

    return [
        Operation(
            "POST",
            "/tokens/revoke",
            "Forget what is known of tokens, in every replica; a token named by itself stays rejected.",
            Revoked,
            revoke,
            Revoke,
        )
    ]


def revocation(asked: Revoke) -> Revocation:
    """Return the revocation that is asked for; raises Refusal."""
    named = {name: value for name, value in msgspec.structs.asdict(asked).items() if value}
    token = named.pop("token", "")
    try:
        if token and named:
            raise RevocationError("a token stands alone: it names all there is to revoke")
        return Revocation.of_token(token) if token else Revocation(**named)
    except RevocationError as error:
        raise Refusal(400, str(error)) from error
