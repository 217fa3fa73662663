"""Repose's files read safely, with a memory of what was asked of them.

Facts this file rests on. A configuration comes from somewhere else: entities and DTDs are refused
(defusedxml), and a file is bounded in size. Namespaces changed from release to release while the names
in them stayed, so elements are known by their local names. Whatever a conversion has not asked about
is told by ``unread``: nothing that an operator wrote goes missing in silence.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element as Node
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

MAX_FILE_BYTES = 4 * 1024 * 1024


class ReposeError(Exception):
    """A file that cannot be read as Repose's configuration; the message names it."""


class Element:
    """An element of a file, and which of its attributes and children were asked for.

    ``place`` says where it stands, for comments and the report:
    ``rate-limiting.cfg.xml: limit-group 'gold' / limit 'reads'``.
    """

    def __init__(self, node: Node, file: str, above: str = "") -> None:
        self.file = file
        self.tag = _local(node.tag)
        self.text = (node.text or "").strip()
        self._path = " / ".join(filter(None, (above, _label(node))))
        self._attributes = {name: value.strip() for name, value in node.attrib.items() if "}" not in name}
        self._children = [Element(child, file, self._path) for child in node]
        self._asked: set[str] = set()
        self._was_read = False

    @property
    def place(self) -> str:
        """Where the element stands."""
        return f"{self.file}: {self._path}"

    def attribute(self, name: str, default: str = "") -> str:
        """Return the value of the attribute ``name``."""
        self._asked.add(name)
        return self._attributes.get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return the truth value of the attribute ``name``."""
        text = self.attribute(name)
        return text.lower() in ("true", "1") if text else default

    def all(self, *tags: str) -> list["Element"]:
        """Return the children of these names, in order."""
        found = [child for child in self._children if child.tag in tags]
        for child in found:
            child._was_read = True
        return found

    def first(self, *tags: str) -> "Element | None":
        """Return the first child of one of these names; further ones stay unread."""
        for child in self._children:
            if child.tag in tags:
                child._was_read = True
                return child
        return None

    def texts(self, *tags: str) -> list[str]:
        """Return the texts of the children of these names, empty ones left out."""
        return [child.text for child in self.all(*tags) if child.text]

    def tell(self) -> str:
        """Return the place, and take all that is below as asked for: the caller tells of it as a whole."""
        self._was_read = True
        self._asked.update(self._attributes)
        for child in self._children:
            child.tell()
        return self.place

    def unread(self) -> Iterator[str]:
        """Yield the place of every attribute and element that nobody has asked about."""
        for name in sorted(self._attributes.keys() - self._asked - {"id", "name"}):
            yield f"{self.place} @{name}"
        for child in self._children:
            if child._was_read:
                yield from child.unread()
            else:
                yield child.place


def read_document(path: Path) -> Element:
    """Return the root element of the file ``path``; raises ReposeError."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ReposeError(f"{path.name}: larger than {MAX_FILE_BYTES} bytes")
    try:
        node = fromstring(path.read_bytes(), forbid_dtd=True)
    except DefusedXmlException as error:
        raise ReposeError(f"{path.name}: a DTD or an entity is not read, for safety") from error
    except (ParseError, UnicodeError, ValueError) as error:
        raise ReposeError(f"{path.name}: is not well-formed XML: {error}") from error
    root = Element(node, path.name)
    root._path = root.tag
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _label(node: Node) -> str:
    name = node.get("id") or node.get("name")
    return _local(node.tag) + (f" {name!r}" if name else "")
