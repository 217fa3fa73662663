"""The section about identity: who checks tokens, and what the upstream is told about their owners.

There is no default provider. A misspelt or forgotten section must not open the door, so that even
``provider: none`` has to be written out.
"""

from typing import Annotated, Literal

from pydantic import Field

from metaproxy.config.model.keystone import KeystoneV2Settings, KeystoneV3Settings
from metaproxy.config.model.static import Static
from metaproxy.settings.section import Section


class NoIdentity(Section):
    """No tokens are checked: everybody is let through, and nobody has a project."""

    provider: Literal["none"]
    """keystone-v3, keystone-v2, static or none."""


IdentityProvider = Annotated[
    KeystoneV3Settings | KeystoneV2Settings | Static | NoIdentity, Field(discriminator="provider")
]
