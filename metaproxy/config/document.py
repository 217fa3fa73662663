"""A YAML file as plain data that remembers on which line each key stands.

PyYAML composes nodes with line marks; what is built from them here refuses duplicate keys, fills in
``${…}``, and goes on after a problem so that the operator hears of all at once. Texts of PyYAML's own
errors are not repeated: they quote the file, and the line may hold a password.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from metaproxy.config.files import MAX_BYTES, Files
from metaproxy.config.interpolation import InterpolationError, files_in, interpolate
from metaproxy.config.problems import ConfigError, Place, Problem, Severity, dotted
from metaproxy.settings.section import KeyPath

MAX_NODES = 100_000
MAX_DEPTH = 40
MAX_BITS = 1024
TOO_LARGE = "the file is nested too deeply or holds too much"

_SCALARS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp"))
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CAPTURE = re.compile(r"(?<=/)\{[A-Za-z_]\w*(?::[^{}]*(?:\{[^{}]*\}[^{}]*)?)?\}")
"""The part of a path template that YAML takes for a mapping; a constraint may hold braces of its own."""

_SYNTAX = (
    ("nesting depth", TOO_LARGE),
    ("alias", "'*' names an anchor that does not exist; text that starts with '*' needs quotes"),
    (
        "cannot start any token",
        "text may not start with this character: use quotes; indent with spaces, not tabs",
    ),
    ("mapping values", "a ':' is out of place: check the indentation, and quote text that holds ': '"),
    ("expected ':'", "a ':' is missing after a key"),
    ("single document", "there is more than one document in the file: remove the '---' in its middle"),
    ("", 'brackets, quotes or indentation do not match; inside [ ] and { } quote "${NAME}"'),
)


@dataclass(slots=True)
class Document:
    """The content of a file: its data, the line of each key, and the problems on the way.

    ``lines`` maps the path of a key to file, line and column. ``hidden`` are the paths whose text came from
    outside the file: a message must not quote it. ``sources`` are the files that it came from.
    """

    file: str
    data: object = None
    lines: dict[KeyPath, Place] = field(default_factory=dict)
    hidden: set[KeyPath] = field(default_factory=set)
    sources: dict[KeyPath, tuple[Path, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: KeyPath, message: str, severity: Severity = "error") -> Problem:
        """Return a problem with the key at ``path``, at the line of its nearest known ancestor."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        file, line, column = self.lines.get(known, (self.file, 1, 1))
        return Problem(file, line, dotted(path), message, column, severity)


def read_document(
    path: Path,
    environ: Mapping[str, str],
    at: KeyPath = (),
    files: Files | None = None,
    content: bytes | None = None,
) -> Document:
    """Read a YAML file; ``at`` is the key under which its data will stand.

    ``files`` reads this file and those that it names. ``content`` is what to read in place of this file.

    Raises ConfigError if there is no data to go on with: no file, no text, no YAML.
    """
    document = Document(str(path))
    files = files or Files()
    text = _text(path, _read(path, files) if content is None else content)
    try:
        _check_depth(document.file, text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(document.file, text, error)]) from None
    if root is None:
        raise ConfigError([Problem(document.file, 0, "", "the file is empty")])
    document.data = _Builder(document, environ, path.parent, files).build(root, at)
    return document


class _Builder:
    """Builds the data of one document from its nodes."""

    def __init__(self, document: Document, environ: Mapping[str, str], folder: Path, files: Files) -> None:
        self._document = document
        self._environ = environ
        self._folder = folder
        self._files = files
        self._constructor = SafeConstructor()
        self._nodes = 0

    def build(self, node: Node, path: KeyPath) -> object:
        """Return the data of ``node``, which stands at ``path``."""
        self._document.lines.setdefault(path, self._place(node))
        self._nodes += 1
        # Aliases make a small file large (each level doubles it), and may even contain themselves.
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise ConfigError([self._document.problem((), TOO_LARGE)])
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        data: dict[str, object] = {}
        merged: dict[str, object] = {}
        # Merged keys come first, so that lines are those of the keys that win.
        for key_node, value_node in sorted(node.value, key=lambda pair: pair[0].tag != _MERGE):
            if key_node.tag == _MERGE:
                merged.update(self._merged(value_node, path))
                continue
            key = key_node.value
            place = self._place(key_node)
            if not isinstance(key_node, ScalarNode) or not isinstance(key, str) or not key:
                self._complain(path, place, "a key is a word before a ':'")
            elif key in data:
                first = self._document.lines[*path, key][1]
                self._complain(
                    (*path, key), place, f"the key stands here a second time; the first is on line {first}"
                )
            else:
                self._document.lines[*path, key] = place
                data[key] = self.build(value_node, (*path, key))
        return merged | data

    def _merged(self, node: Node, path: KeyPath) -> dict[str, object]:
        """The mappings that ``<<`` names; of several the first wins (YAML's merge key)."""
        data: dict[str, object] = {}
        for source in reversed(node.value) if isinstance(node, SequenceNode) else (node,):
            if isinstance(source, MappingNode):
                data.update(self._mapping(source, path))
            else:
                self._complain((*path, "<<"), self._place(node), "names a mapping, or a list of them")
        return data

    def _scalar(self, node: Node, path: KeyPath) -> object:
        if node.tag not in _SCALARS:
            self._complain(
                path, self._place(node), "tags are not used here; text that starts with '!' needs quotes"
            )
            return None
        if meant := _base_eight_or_sixty(node):
            self._complain(path, self._place(node), meant)
            return 0
        try:
            value = self._constructor.construct_object(node)
            if isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise ValueError  # Python refuses to write a number of thousands of digits
            return self._interpolated(value, path) if isinstance(value, str) else value
        except InterpolationError as error:
            self._complain(path, self._place(node), str(error))
        except ValueError:
            self._complain(path, self._place(node), "looks like a number or a date and is none: use quotes")
        return node.value

    def _interpolated(self, text: str, path: KeyPath) -> str:
        if "$" not in text:
            return text
        self._document.hidden.add(path)
        self._document.sources[path] = files_in(text, self._folder)
        return interpolate(text, self._environ, self._folder, self._files)

    def _place(self, node: Node) -> Place:
        return self._document.file, node.start_mark.line + 1, node.start_mark.column + 1

    def _complain(self, path: KeyPath, place: Place, message: str) -> None:
        file, line, column = place
        self._document.problems.append(Problem(file, line, dotted(path), message, column))


def _base_eight_or_sixty(node: Node) -> str:
    """The sentence about a number that YAML 1.1 reads in another base than its writer; "" for others.

    ``010`` is 8 and ``1:30`` is 90. Nobody writes either in a configuration to mean that.
    """
    text = str(node.value)
    if node.tag in (_INT, _FLOAT) and ":" in text:
        return "YAML reads a number with ':' in base 60 (1:30 is 90): write 90s, or use quotes if it is text"
    if node.tag == _INT and re.fullmatch(r"[+-]?0[0-7_]+", text):
        return (
            "YAML reads a number that begins with 0 as octal (010 is 8): "
            "remove the 0, or use quotes if it is text"
        )
    return ""


def _read(path: Path, files: Files) -> bytes:
    try:
        return files.read(path)
    except OSError as error:
        reason = {"No such file or directory": "no such file", "Is a directory": "is a directory, not a file"}
        message = reason.get(error.strerror or "", f"cannot be read: {error.strerror}")
        raise ConfigError([Problem(str(path), 0, "", message)]) from None


def _text(path: Path, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise ConfigError([Problem(str(path), 0, "", f"is larger than {MAX_BYTES // 1024**2}MiB")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(path), line, "", "is not UTF-8 text")]) from None


def _check_depth(file: str, text: str) -> None:
    """Refuse deep nesting before it is composed: libyaml's composer recurses until the stack is gone."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError([Problem(file, line, "", TOO_LARGE)])


def _syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(file, line, "", "holds a control character, which YAML does not allow")
    context, mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    reason = f"{getattr(error, 'context', '')} {getattr(error, 'problem', '')}"
    message = next(message for word, message in _SYNTAX if word in reason)
    if capture := _capture_at(text, mark):
        message = f'inside [ ] and {{ }} a path that holds {capture} needs quotes: "/path/{capture}"'
    elif message is _SYNTAX[-1][1] and context and mark and context.line < mark.line:
        message += f" (it began on line {context.line + 1})"
    return Problem(file, mark.line + 1 if mark else 1, "", message, mark.column + 1 if mark else 0)


def _capture_at(text: str, mark: yaml.Mark | None) -> str:
    """The ``{name}`` at which YAML took a path template for the beginning of a mapping, or ""."""
    if mark is None:
        return ""
    line = "".join(text.splitlines()[mark.line : mark.line + 1])
    found = [
        capture for capture in _CAPTURE.finditer(line) if capture.start() <= mark.column <= capture.end()
    ]
    return found[0][0] if found else ""
