"""Folders of Repose's files, built from their parts."""

import re
from collections.abc import Mapping
from pathlib import Path

REPOSE = "http://docs.openrepose.org/repose"
KEYSTONE, RBAC, RATES, DERP = (
    f"<filter name='{name}'/>" for name in ("keystone-v2", "simple-rbac", "rate-limiting", "derp")
)

FILES = {
    "system-model": """\
<system-model xmlns="{repose}/system-model/v2.0">
<nodes><node id="n" hostname="localhost" http-port="8080"/>{nodes}</nodes>
<filters {filters@}>
{filters}
</filters>
<destinations>
<endpoint id="api" hostname="nova.internal" port="8774" default="true" {endpoint@}/>
</destinations>
{model}
</system-model>
""",
    "keystone-v2": """\
<keystone-v2 xmlns="{repose}/keystone-v2/v1.0" {keystone@}>
<identity-service uri="http://identity.internal" username="u" password="p" {service@}/>
{keystone}
</keystone-v2>
""",
    "simple-rbac": """\
<simple-rbac xmlns="{repose}/simple-rbac/v1.0" {rbac@}>
<resources>
{lines}
</resources>
{rbac}
</simple-rbac>
""",
    "rate-limiting": """\
<rate-limiting xmlns="{repose}/rate-limiting/v1.0" {rates@}>
{rates}
<limit-group id="g" {group@}>
<limit id="l" uri="*" {limit@}/>
</limit-group>
</rate-limiting>
""",
}
"""Files with places for parts, at their simplest where a part is missing. A part of attributes ends in @."""

LIMIT = {"uri-regex": ".*", "http-methods": "ALL", "unit": "MINUTE", "value": "3"}
SIMPLEST = {"repose": REPOSE, "lines": "/images GET ANY", "group@": "groups='' default='true'"}


class Folder:
    """A folder with the files of ``FILES``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.write(KEYSTONE)

    def write(self, *filters: str, **parts: str) -> None:
        """Write the files with this chain and ``parts``, which are named as in ``FILES``."""
        self.write_parts("\n".join(filters), parts)

    def write_parts(self, filters: str, parts: Mapping[str, str]) -> None:
        """Write the files with this chain and ``parts``, those of attributes included."""
        named = parts.get("limit@", "").partition("=")[0]
        limit = " ".join(f"{key}='{value}'" for key, value in LIMIT.items() if key != named)
        values = {**SIMPLEST, "filters": filters, **parts, "limit@": f"{limit} {parts.get('limit@', '')}"}
        for name, text in FILES.items():
            filled = re.sub(r"\{([a-z]+@?)\}", lambda part: values.get(part[1], ""), text)
            (self.path / f"{name}.cfg.xml").write_text(filled)
