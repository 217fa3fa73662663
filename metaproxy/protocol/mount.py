"""The prefix under which the compute API is reached: taken off before anything decides.

Clients say ``/compute/v2.1/…`` where the API behind is asked for ``/v2.1/…``. Rules, limits and the cache
speak of the latter. The prefix is compared segment by segment, decoded (RFC 3986 §6.2.2.2): another spelling
of it is not another path. A template that contains the prefix loses it as well.
"""

from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from metaproxy.protocol.headers import Header
from metaproxy.protocol.routes import parse_template

LINKS = frozenset({b"location", b"content-location"})
"""Fields of an answer that name a path of the API."""


class Mount:
    """A path prefix; "" for none.

    Args:
        prefix: it starts with a slash and ends without one.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix.rstrip("/")
        self._raw = self.prefix.encode("ascii")
        self._segments = unquote(self.prefix).split("/")[1:]

    def __bool__(self) -> bool:
        return bool(self.prefix)

    def taken_off(self, raw_path: bytes) -> tuple[bytes, bytes] | None:
        """Return the prefix as ``raw_path`` spells it, and the path without it; None if it has none."""
        if raw_path.startswith(self._raw):
            at = len(self._raw)
        elif b"%" not in raw_path:
            return None
        else:
            parts = raw_path.split(b"/")[1 : len(self._segments) + 1]
            if [unquote_to_bytes(part) for part in parts] != [text.encode() for text in self._segments]:
                return None
            at = sum(len(part) + 1 for part in parts)
        rest = raw_path[at:]
        return (raw_path[:at], rest or b"/") if not rest or rest.startswith(b"/") else None

    def inside(self, path: str) -> str:
        """Return ``path`` (percent-decoded) without the prefix, if it has it."""
        if not self:
            return path
        segments = path.split("/")[1:]
        count = len(self._segments)
        return "/" + "/".join(segments[count:]) if segments[:count] == self._segments else path

    def templates(self, template: str) -> tuple[str, ...]:
        """Return the templates of paths without the prefix for which ``template`` was written."""
        if not self:
            return (template,)
        segments, has_rest = parse_template(template)
        parts = template.split("/")[1:]
        is_certain = True
        for index, text in enumerate(self._segments):
            if index == len(segments):
                return (template, "/**") if has_rest and index else (template,)
            segment = segments[index]
            is_certain = is_certain and segment.literal is not None
            if segment.literal not in (None, text) or (segment.pattern and not segment.pattern.matches(text)):
                return (template,)
        stripped = "/" + "/".join(parts[len(self._segments) :])
        return (stripped,) if is_certain else (template, stripped)

    def links(self, fields: list[Header], host: bytes | None) -> list[Header]:
        """Return the fields of an answer with the prefix put back in links to ``host`` that lack it."""
        if LINKS.isdisjoint([name for name, _ in fields]):
            return fields
        return [self._link(field, host) if field[0] in LINKS else field for field in fields]

    def _link(self, field: Header, host: bytes | None) -> Header:
        name, value = field
        try:
            parts = urlsplit(value)
        except ValueError:
            return field
        path = parts.path
        is_ours = not parts.netloc or (host is not None and parts.netloc.lower() == host.lower())
        if not is_ours or not path.startswith(b"/") or self.taken_off(path) is not None:
            return field
        return name, parts._replace(path=self._raw + path).geturl()


NOT_MOUNTED: Final = Mount()
