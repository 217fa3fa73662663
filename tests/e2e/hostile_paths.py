"""Paths that two readers could read in two ways, and those that all read alike."""

from typing import NamedTuple

from metaproxy.demo.world import BLUE, RED, RED_IMAGE

RED_SERVERS = f"/v2.1/{RED.id}/servers"
BLUE_SERVERS = f"/v2.1/{BLUE.id}/servers"
ITEM = f"/v2.1/{RED.id}/images/{RED_IMAGE.id}/metadata"


class PathCase(NamedTuple):
    """A path and the status that Alice, of project red, gets; where it is 200 the upstream gets the path."""

    what: str
    path: str
    status: int

    def __str__(self) -> str:
        return self.what


PATHS = [
    PathCase("her own project", RED_SERVERS, 200),
    PathCase("another project", BLUE_SERVERS, 403),
    PathCase("`..` to another project", f"{RED_SERVERS}/../../{BLUE.id}/servers", 400),
    PathCase("`..` at the end", f"{RED_SERVERS}/..", 400),
    PathCase("`.`", f"/v2.1/./{RED.id}/servers", 400),
    PathCase("`%2e%2e`", f"{RED_SERVERS}/%2e%2e/%2E%2E/{BLUE.id}/servers", 400),
    PathCase("`.%2e`", f"{RED_SERVERS}/.%2e/x", 400),
    PathCase("`%2f`", f"/v2.1/{RED.id}%2fservers", 400),
    PathCase("`%2F` with dots", f"{RED_SERVERS}/..%2F..%2F{BLUE.id}", 400),
    PathCase("`%5c`", f"{RED_SERVERS}%5c..", 400),
    PathCase("a backslash", f"{RED_SERVERS}\\..\\x", 400),
    PathCase("`%252e%252e`", f"{RED_SERVERS}/%252e%252e/x", 400),
    PathCase("`%25` before no digits", f"{RED_SERVERS}/100%25", 200),
    PathCase("`%252f`", f"{RED_SERVERS}%252fx", 400),
    PathCase("`;` parameters", f"/v2.1/{RED.id};x=1/servers", 400),
    PathCase("`..;`", f"{RED_SERVERS}/..;/x", 400),
    PathCase("`//` in the middle", f"/v2.1//{RED.id}/servers", 400),
    PathCase("`//` at the start", f"/{RED_SERVERS}", 400),
    PathCase("`//` at the end", f"{RED_SERVERS}//", 400),
    PathCase("`%00`", f"{RED_SERVERS}/a%00b", 400),
    PathCase("`%0d%0a`", f"{RED_SERVERS}/a%0d%0aX-Roles:admin", 400),
    PathCase("`%7f`", f"{RED_SERVERS}/a%7f", 400),
    PathCase("overlong UTF-8 of a slash", f"{RED_SERVERS}/..%c0%af..", 400),
    PathCase("UTF-8 that is cut off", f"{RED_SERVERS}/%e2%82", 400),
    PathCase("UTF-8 of half a surrogate pair", f"{RED_SERVERS}/%ed%a0%80", 400),
    PathCase("valid UTF-8", f"{RED_SERVERS}/%e2%82%ac", 200),
    PathCase("`%` without digits", f"{RED_SERVERS}/a%zz", 400),
    PathCase("`%` at the end", f"{RED_SERVERS}/a%", 400),
    PathCase("IIS's `%u002e`", f"{RED_SERVERS}/%u002e%u002e", 400),
    PathCase("braces", f"{RED_SERVERS}/{{x}}", 400),
    PathCase("a quotation mark", f'{RED_SERVERS}/"', 400),
    PathCase("escaped letters of her project", f"/v2.1/%{ord(RED.id[0]):02x}{RED.id[1:]}/servers", 200),
    PathCase("escaped letters of another project", f"/v2.1/%{ord(BLUE.id[0]):02x}{BLUE.id[1:]}/servers", 403),
    PathCase("another project behind a slash at the end", f"{BLUE_SERVERS}/", 403),
    PathCase("another project in the older version", f"/v2/{BLUE.id}/servers", 403),
    PathCase("`..` in the query alone", f"{RED_SERVERS}?x=../..//%2e;%00", 200),
    PathCase("another project in capitals", f"/v2.1/{BLUE.id.upper()}/servers", 403),
    PathCase("the version in capitals", f"/V2.1/{RED.id}/servers", 400),
    PathCase("the version in capitals, another project", f"/V2.1/{BLUE.id}/servers", 400),
    PathCase("the version in escaped capitals, another project", f"/%562.1/{BLUE.id}/servers", 400),
    PathCase("a collection of a cache route in capitals", ITEM.replace("images", "Images"), 400),
    PathCase("a collection that no template names in capitals", f"/v2.1/{RED.id}/Servers", 200),
    PathCase("three dots", f"{RED_SERVERS}/...", 200),
    PathCase("8 KiB and more", f"{RED_SERVERS}/{'a' * 9000}", 414),
]


def table() -> str:
    """The cases as Markdown."""
    lines = ["| path | answer | the upstream sees |", "|---|---|---|"]
    for case in PATHS:
        seen = "the same octets" if case.status == 200 else "nothing"
        lines.append(f"| {case.what} | {case.status} | {seen} |")
    return "\n".join(lines)
