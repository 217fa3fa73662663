"""The world of the demo: two projects, their people, their images. All ids are stable.

Alice's token and the metadata item of her first image are those of the API's own documentation, so
that its example can be repeated word for word.
"""

from dataclasses import dataclass, field
from typing import Final

DOMAIN_ID: Final = "default"
DOMAIN_NAME: Final = "Default"


@dataclass(frozen=True, slots=True)
class Project:
    """A tenant."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Person:
    """A user, the project that their tokens are for, and the fixed token that the demo gives them."""

    name: str
    id: str
    project: Project
    roles: tuple[str, ...]
    password: str = field(repr=False)
    token: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class ImageSeed:
    """An image as the demo starts with it."""

    id: str
    name: str
    owner: Project
    metadata: tuple[tuple[str, str], ...]
    public: bool = False


RED: Final = Project("0f3c9a5be47d4c1fa6d2b8e17c905d34", "red")
BLUE: Final = Project("7b16d0e2c8f34a9795ea4f60d31b82c7", "blue")
SERVICE: Final = Project("a94e1c7702d545c8b3f9e60817dd2b5f", "service")

ALICE: Final = Person(
    "alice",
    "3d2f8a1c5b7e4960a1c4d7e8f9021b36",
    RED,
    ("member", "reader"),
    "alice-password",
    "f064c46a782c444cb4ba4b6434288f7c",
)
BOB: Final = Person(
    "bob",
    "91c5e7d3042b4f8a8e6db0a1f2c37459",
    BLUE,
    ("member", "reader"),
    "bob-password",
    "c28b7e6d915f4a03b4d1e8f7a6029c5b",
)
ADMIN: Final = Person(
    "admin",
    "e60b9d48f17c4253b5a8c3d2e1f40679",
    SERVICE,
    ("admin", "member", "reader"),
    "admin-password",
    "5ad0f3b8c7e24691d8a2b6c4f1e09d73",
)
METAPROXY: Final = Person(
    "metaproxy", "b8f2a6c1d5e9473086b4c2d0e7f1a395", SERVICE, ("service",), "metaproxy-password"
)
PEOPLE: Final = (ALICE, BOB, ADMIN, METAPROXY)

EXPIRED_TOKEN: Final = "2e7c1f9a4d8b46503b9e6a0c5f7d18e2"  # noqa: S105 - a token of Alice's that has run out
APPLICATION_CREDENTIAL_ID: Final = "64d1f0b7a3c8492e95b6e7d2c1f4a80b"
APPLICATION_CREDENTIAL_SECRET: Final = "metaproxy-credential"  # noqa: S105 - the demo's own

RED_IMAGE: Final = ImageSeed(
    "70a599e0-31e7-49b7-b260-868f441e862b", "alpine", RED, (("label", "Updated"), ("os", "linux"))
)
RED_OTHER_IMAGE: Final = ImageSeed(
    "b1f3d6a2-9c4e-4f07-8d15-2e6a7c0b9f48", "backup", RED, (("kind", "snapshot"),)
)
BLUE_IMAGE: Final = ImageSeed("d4e8c6b0-5a27-4193-a7f0-3b9c1d6e5284", "debian", BLUE, (("label", "Stable"),))
PUBLIC_IMAGE: Final = ImageSeed(
    "155d900f-4e14-4e4c-a73d-069cbf4541e6", "cirros", SERVICE, (("architecture", "x86_64"),), public=True
)
IMAGES: Final = (RED_IMAGE, RED_OTHER_IMAGE, BLUE_IMAGE, PUBLIC_IMAGE)
