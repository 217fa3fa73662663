"""The section that an import leaves behind if it could not convert everything."""

from collections.abc import Iterator
from typing import Annotated

from metaproxy.settings.section import Finding, Section
from metaproxy.settings.written import text_of

GuardName = Annotated[
    str,
    text_of(
        "guard",
        r"[A-Za-z0-9._/-]{1,200}",
        "the name of a guard has letters, digits, '.', '_', '/' and '-'",
        "regex-rbac",
    ),
]


class Imported(Section):
    """What an import from another proxy could not convert."""

    not_converted: tuple[GuardName, ...] = ()
    """Guards without an equivalent in this file: it starts only once none is named here."""

    def findings(self) -> Iterator[Finding]:
        """Nothing is missing."""
        for index, guard in enumerate(self.not_converted):
            yield (
                ("not_converted", index),
                f"{guard} may have refused requests, and was not converted: write what does its work, then "
                "take its name out",
            )
