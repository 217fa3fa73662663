"""Repose's files read safely, with a memory of what was asked of them.

Facts this file rests on. A configuration comes from somewhere else: entities and DTDs are refused
(defusedxml), and a file is bounded in size. Repose renders each file as a UTF-8 template ({$ … $}) before it
parses it, and checks it against a schema: a file of another namespace, or with an element of another one,
is not the file that Repose would have read. ``unread`` yields everything that no conversion has asked about,
so that a guard which an operator wrote cannot get lost.

A schema keeps the blanks at the ends of an ``xs:string``, and JAXB as well: in Repose they are part of an
expression, a name or a path, which then fits nothing that it was written for. So a value with such blanks is
not converted (``attribute``, ``text``). Numbers, truth values, lists and addresses lose their blanks by the
schema (``token``, ``token_text``).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element as Node
from xml.etree.ElementTree import ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_FILE_BYTES = 4 * 1024 * 1024

TEMPLATE_MARKS = ("{$", "{!", "{%")
"""The beginnings of output, comments and code in a template (Jtwig, as Repose configures it)."""

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
HINTS = frozenset({f"{XSI}schemaLocation", f"{XSI}noNamespaceSchemaLocation"})
"""Attributes that tell an editor where a schema is. They configure nothing."""

BLANKS = " \t\r\n"
"""White space of XML. Other blanks are letters to a schema."""

PADDED = "has blanks at its ends, which were part of it in Repose: take them off, and convert again"

TRUTH = {"true": True, "1": True, "false": False, "0": False}
"""The words of xs:boolean."""


class ReposeError(Exception):
    """A file that cannot be read as Repose's configuration; the message names it."""


class Unread(NamedTuple):
    """Something that no conversion has asked about, or could not read: its own name, and where it is.

    ``is_padded`` says that it could not be read because of the blanks at its ends.
    """

    name: str
    place: str
    is_padded: bool = False


class Element:
    """An element of a file, and which of its attributes and children were asked for.

    ``place`` is for comments and the report: ``rate-limiting.cfg.xml:7: limit-group 'gold' / limit 'reads'``.
    """

    def __init__(
        self, node: Node, file: str, lines: Mapping[Node, int], above: "Element | None" = None
    ) -> None:
        self.file = file
        self.namespace, self.tag = _names(node.tag)
        if above is not None and self.namespace != above.namespace:
            self.tag = node.tag  # no conversion asks for it under this name
        self.line = lines[node]
        label = node.get("id") or node.get("name")
        own = self.tag + (f" {label!r}" if label and above is not None else "")
        self._path: str = f"{above._path} / {own}" if above is not None else own
        written = {name: value for name, value in node.attrib.items() if name not in HINTS}
        self._attributes = {name: value.strip(BLANKS) for name, value in written.items()}
        self._is_padded = {name for name, value in written.items() if value != value.strip()}
        self._children = [Element(child, file, lines, self) for child in node]
        text = node.text or ""
        self._text = text.strip(BLANKS)
        self._text_is_padded = text != text.strip() and bool(self._text or not len(node))
        self._text_is_unclear = False
        self._stray = "".join(child.tail or "" for child in node).strip()
        self._asked: set[str] = set()
        self._unclear: set[str] = set()
        self._was_read = False
        self._text_was_read = False

    @property
    def place(self) -> str:
        """The place of the element: file, line and path."""
        return f"{self.file}:{self.line}: {self._path}"

    @property
    def is_padded(self) -> bool:
        """True if the text has blanks at its ends."""
        return self._text_is_padded

    @property
    def text(self) -> str:
        """The text of the element, before its first child. It stays unread if it has blanks at its ends."""
        self._text_is_unclear = self._text_is_padded
        return self.token_text

    @property
    def token_text(self) -> str:
        """The text of the element, for which blanks at its ends mean nothing."""
        self._text_was_read = True
        return self._text

    def has(self, name: str) -> bool:
        """Say whether the attribute ``name`` is written, be it empty."""
        return name in self._attributes

    def attribute(self, name: str, default: str = "") -> str:
        """Return the value of the attribute ``name``. It stays unread if it has blanks at its ends."""
        if name in self._is_padded:
            self._unclear.add(name)
        return self.token(name, default)

    def token(self, name: str, default: str = "") -> str:
        """Return the value of the attribute ``name``, for which blanks at its ends mean nothing."""
        self._asked.add(name)
        return self._attributes.get(name, default)

    def ignore(self, *names: str) -> None:
        """Take the attributes ``names`` as asked for, because they change nothing that a guard does."""
        self._asked.update(names)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return the truth value of the attribute ``name``. Any other word stays unread."""
        if not self.has(name):
            return default
        text = self.token(name)
        if text not in TRUTH:
            self._unclear.add(name)
        return TRUTH.get(text, default)

    def refuse(self, name: str) -> None:
        """Leave the attribute ``name`` unread, because its value cannot be converted."""
        self._unclear.add(name)

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

    def one(self, tag: str) -> list["Element"]:
        """Return the first child of this name as a list, for a loop; further ones stay unread."""
        found = self.first(tag)
        return [] if found is None else [found]

    def texts(self, *tags: str) -> list[str]:
        """Return the texts of the children of these names, empty ones left out."""
        return [text for child in self.all(*tags) if (text := child.text)]

    def tell(self) -> str:
        """Return the place, and take all that is below as asked for: the caller reports it as a whole.

        An attribute whose value could not be read stays unread: the caller may have decided by it.
        """
        self._was_read = self._text_was_read = True
        self._stray = ""
        self._asked.update(self._attributes)
        for child in self._children:
            child.tell()
        return self.place

    def unread(self) -> Iterator[Unread]:
        """Yield every attribute, element and text that no conversion has asked about, or could not read."""
        for name in sorted((self._attributes.keys() - self._asked) | self._unclear):
            yield Unread(_names(name)[1], f"{self.place} @{name}", is_padded=name in self._is_padded)
        if (self._text and not self._text_was_read) or self._stray or self._text_is_unclear:
            yield Unread("text", f"{self.place}, its text", is_padded=self._text_is_unclear)
        for child in self._children:
            if child._was_read:
                yield from child.unread()
            else:
                yield Unread(_names(child.tag)[1], child.place)


class _NumberedBuilder(TreeBuilder):
    """Builds the tree, and notes the line on which each element begins."""

    def __init__(self) -> None:
        super().__init__()
        self.parser: DefusedXMLParser | None = None
        self.lines: dict[Node, int] = {}

    def start(self, tag: str, attrs: dict[str, str], /) -> Node:
        node: Node = super().start(tag, attrs)
        if self.parser is not None:
            self.lines[node] = self.parser.parser.CurrentLineNumber
        return node


def read_document(path: Path) -> Element:
    """Return the root element of the file ``path``; raises ReposeError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ReposeError(f"{path.name}: larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeError as error:
        raise ReposeError(f"{path.name}: is not UTF-8, as which Repose reads it") from error
    except OSError as error:
        raise ReposeError(f"{path.name}: cannot be read: {error.strerror}") from error
    builder = _NumberedBuilder()
    parser = builder.parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    try:
        parser.feed(text)
        node: Node = parser.close()
    except DefusedXmlException as error:
        raise ReposeError(f"{path.name}: a DTD or an entity is not read, for safety") from error
    except (ParseError, ValueError) as error:
        raise ReposeError(f"{path.name}: is not well-formed XML: {error}") from error
    for mark in TEMPLATE_MARKS:
        if mark in text:
            raise ReposeError(f"{path.name}: is a template ({mark} …): render it first, as Repose does")
    return Element(node, path.name, builder.lines)


def _names(tag: str) -> tuple[str, str]:
    namespace, _, name = tag.rpartition("}")
    return namespace.removeprefix("{"), name
