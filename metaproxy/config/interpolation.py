"""``${NAME}``, ``${NAME:-default}`` and ``${file:/path}`` inside the values of a configuration.

``$$`` stands for one ``$``. A ``$`` before anything else is itself, as regular expressions need it.
A default is taken where the variable is not set or empty, as a shell does.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from metaproxy.config.files import Files

SECRET_FILE_BYTES = 64 * 1024

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<body>[^{}]*)(?P<end>\}?))")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)


class InterpolationError(ValueError):
    """A reference that cannot be filled in; the message names it, never a value."""


def interpolate(text: str, environ: Mapping[str, str], folder: Path, files: Files | None = None) -> str:
    """Return ``text`` with its references filled in.

    Args:
        folder: what relative paths of ``${file:…}`` start from.

    Raises InterpolationError for a variable that is not set, a file that cannot be read, or a
    reference of no known form.
    """
    reader = files or Files()

    def fill(reference: re.Match[str]) -> str:
        return "$" if reference["dollar"] else _fill(reference, environ, folder, reader)

    return _REFERENCE.sub(fill, text)


def files_in(text: str, folder: Path) -> tuple[Path, ...]:
    """Return the files that references in ``text`` name."""
    bodies = [reference["body"] or "" for reference in _REFERENCE.finditer(text)]
    return tuple([folder / body.removeprefix("file:") for body in bodies if body.startswith("file:")])


def _fill(reference: re.Match[str], environ: Mapping[str, str], folder: Path, files: Files) -> str:
    body = reference["body"]
    if not reference["end"]:
        raise InterpolationError("'${' is not closed; a literal '${' is written '$${'")
    if body.startswith("file:"):
        return _read(folder / body.removeprefix("file:"), files)
    if (variable := _VARIABLE.fullmatch(body)) is None:
        raise InterpolationError(
            "a reference is ${NAME}, ${NAME:-default} or ${file:/path}; '$${' is a literal '${'"
        )
    name, default = variable["name"], variable["default"]
    if default is not None:
        return environ.get(name) or default.removeprefix(":-")
    if name not in environ:
        raise InterpolationError(
            f"the environment variable {name} is not set; a default is written ${{{name}:-…}}"
        )
    return environ[name]


def _read(path: Path, files: Files) -> str:
    try:
        content = files.read(path)
        text = content.decode("utf-8-sig")  # as the configuration itself
    except OSError as error:
        raise InterpolationError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise InterpolationError(f"cannot read {path}: it is not UTF-8 text") from None
    if len(content) > SECRET_FILE_BYTES:
        raise InterpolationError(f"cannot read {path}: it is larger than {SECRET_FILE_BYTES // 1024}KiB")
    return text.removesuffix("\n").removesuffix("\r")
