"""What reads foreign bytes, each as a function of bytes that raises where a promise is broken.

hypothesis calls them in the test suite, atheris under ``make fuzz``.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from metaproxy.config import ConfigError, load_config
from metaproxy.config.repose import ReposeError, import_folder
from metaproxy.forward.engine.parser import ResponseParser
from metaproxy.forward.errors import InvalidResponse, TruncatedResponse
from metaproxy.protocol.caching import directives
from metaproxy.protocol.expressions import BACKTRACKING
from metaproxy.protocol.limits.metadata import Uncountable, exceeds
from metaproxy.protocol.paths import ambiguity
from metaproxy.protocol.routes import RouteTable, TemplateError
from tests.fuzz.edge import edge

Target = Callable[[bytes], None]


def _promise(kept: bool) -> None:
    if not kept:
        raise AssertionError


def cache_directives(data: bytes) -> None:
    """Numbers are never negative, and what says nothing stores nothing by itself."""
    asked = directives.parse_request(data)
    _promise(asked.max_age is None or 0 <= asked.max_age <= directives.DELTA_MAX)
    _promise(0 <= asked.min_fresh <= directives.DELTA_MAX)
    directives.parse_response(data)
    directives.parse_response(data, targeted=True)


def paths(data: bytes) -> None:
    """A path that is not ambiguous has no octet, escape or segment that two readers read in two ways."""
    if ambiguity(data) is None:
        _promise(data.startswith(b"/"))
        _promise(
            not any(part in data.lower() for part in (b"//", b";", b"\\", b"%2f", b"%5c", b"%00", b"%0"))
        )
        _promise(not {b".", b".."} & set(data.split(b"/")))


def routes(data: bytes) -> None:
    """The first line is a template, the rest a path without its slash: captures are segments of it."""
    template, _, behind = data.decode("utf-8", "replace").partition("\n")
    path = "/" + behind
    if BACKTRACKING in template:
        return  # a regular expression that may be slow, as its operator says
    table: RouteTable[None] = RouteTable()
    try:
        table.add(template, None)
    except TemplateError:
        return
    match = table.match(path)
    if match is not None:
        _promise(set(match.captures.values()) <= set(path.split("/")))


def metadata(data: bytes) -> None:
    """The first lines are a type and a coding: what is behind them is counted, or the reason is said."""
    content_type, _, rest = data.partition(b"\n")
    coding, _, body = rest.partition(b"\n")
    try:
        exceeds(1, body, [(b"content-type", content_type), (b"content-encoding", coding)])
    except Uncountable as error:
        _promise(bool(str(error)))


def config(data: bytes) -> None:
    """A file is a configuration, or its problems are told."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "metaproxy.yaml"
        file.write_bytes(data)
        try:
            load_config(file, environ={})
        except ConfigError as error:
            _promise(bool(str(error)))


def repose(data: bytes) -> None:
    """A file of Repose's is read, or refused by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("system-model.cfg.xml", "rate-limiting.cfg.xml"):
            (folder / file).write_bytes(data)
        try:
            import_folder(folder)
        except ReposeError as error:
            _promise(bool(str(error)))


def upstream_answer(data: bytes) -> None:
    """What comes from an upstream is an answer, or an error that is told; cut anywhere, it says the same."""
    _promise(_read([data]) == _read([data[index : index + 1] for index in range(len(data))]))


def _read(pieces: list[bytes]) -> tuple[int, bytes] | None:
    parser, body = ResponseParser(), b""
    parser.expect("GET")
    try:
        for piece in pieces:
            body += parser.feed(piece)
            if parser.complete:
                break
        parser.feed_eof()
    except (InvalidResponse, TruncatedResponse):
        return None
    return (parser.head.status, body) if parser.head is not None else None


TARGETS: Mapping[str, Target] = {
    target.__name__: target
    for target in (edge, cache_directives, paths, routes, metadata, config, repose, upstream_answer)
}
