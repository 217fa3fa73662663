"""pydantic's errors as sentences for an operator.

A value is quoted only where it can be no secret: numbers, words of a fixed set, and units; never text
that came from the environment or a file, never what stands where a mapping or free text should.
"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from metaproxy.config.document import Document
from metaproxy.config.keys import section_at
from metaproxy.config.model.identity import PROVIDERS
from metaproxy.config.problems import Problem
from metaproxy.protocol.routes import TemplateError
from metaproxy.settings.section import KeyPath
from metaproxy.settings.written import NotWrittenSo

Context = Mapping[str, Any]

DATE = "a date with its zone is expected: 2027-01-01T00:00:00Z"

SENTENCES: Mapping[str, Callable[[Context], str]] = {
    "string_type": lambda _: "text is expected; put it in quotes",
    "int_type": lambda _: "a whole number is expected",
    "int_parsing": lambda _: "a whole number is expected",
    "int_from_float": lambda _: "a whole number is expected",
    "finite_number": lambda _: "a whole number is expected",
    "int_parsing_size": lambda _: "the number is too large",
    "float_type": lambda _: "a number is expected",
    "float_parsing": lambda _: "a number is expected",
    "bool_type": lambda _: "true or false is expected",
    "bool_parsing": lambda _: "true or false is expected",
    "path_type": lambda _: "the path of a file is expected",
    "tuple_type": lambda _: "a list is expected: [a, b], or a line with '- ' for each",
    "model_type": lambda _: "a mapping (key: value) is expected",
    "model_attributes_type": lambda _: "a mapping (key: value) is expected",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "string_too_short": lambda _: "must not be empty",
    "too_short": lambda _: "must not be empty",
    "union_tag_not_found": lambda _: f"is missing: {', '.join(PROVIDERS)}; none lets everybody in",
    "datetime_type": lambda _: DATE,
    "datetime_parsing": lambda _: DATE,
    "datetime_from_date_parsing": lambda _: DATE,
    "timezone_aware": lambda _: DATE,
    "findings": lambda context: str(context["text"]),
}
"""Texts by pydantic's name of the error; the value may follow."""

QUOTED = frozenset(
    {
        "int_type", "int_parsing", "int_from_float", "float_type", "float_parsing",
        "bool_type", "bool_parsing", "greater_than_equal", "less_than_equal",
    }
)  # fmt: skip
"""Errors after which the value is quoted."""


def problems_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """Yield what ``error`` says about ``document``, each at its line."""
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # its only items are wrong themselves, and have been reported
        path = path_of(details, document.data)
        if details["type"] == "findings":
            yield from _findings(details, path, document)
        else:
            yield document.problem(path, _sentence(details, hide=path in document.hidden))


def findings_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """Yield what ``error`` says about keys of one section that do not go together."""
    for details in error.errors(include_url=False):
        if details["type"] == "findings" and details["loc"]:
            yield from _findings(details, path_of(details, document.data), document)


def _findings(details: ErrorDetails, path: KeyPath, document: Document) -> Iterator[Problem]:
    for key, sentence in details["ctx"]["findings"]:
        yield document.problem((*path, *key), sentence)


def path_of(details: ErrorDetails, data: object) -> KeyPath:
    """Return the keys of the error's location, without what pydantic adds: union tags, items of a value."""
    path: list[str | int] = []
    for part in details["loc"]:
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif details["type"] != "missing" or part != details["loc"][-1]:
            continue
        path.append(part)
    if details["type"].startswith("union_tag"):
        path.append("provider")
    return tuple(path)


def _sentence(details: ErrorDetails, *, hide: bool) -> str:
    kind, context = details["type"], details.get("ctx", {})
    quote = "" if hide else _quote(details["input"])
    match kind:
        case "missing":
            return f"is missing: {_description(details['loc'])}"
        case "extra_forbidden":
            return _unknown_key(details["loc"])
        case "literal_error":
            return _choice(context["expected"].replace(" or ", ", "), details["input"], hide=hide)
        case "union_tag_invalid":
            return _choice(context["expected_tags"], details["input"]["provider"], hide=hide)
        case "value_error":
            return _reason(context["error"], quote, hide=hide)
    sentence = SENTENCES[kind](context) if kind in SENTENCES else "this value does not fit here"
    return f"{sentence}{quote}" if kind in QUOTED or details["input"] is None else sentence


def _reason(error: ValueError, quote: str, *, hide: bool) -> str:
    if isinstance(error, NotWrittenSo):
        hint = f": write {error.hint}" if error.hint and quote else ""
        return f"{error}{quote.replace(', not', '; it says')}{hint}"
    # These quote the template themselves.
    if hide and isinstance(error, TemplateError):
        return "what came from outside the file is no path template"
    return str(error)


def _quote(value: object) -> str:
    if value is None:
        return ", and the value is empty"
    if isinstance(value, str | int | float) and len(str(value)) <= 60:
        return f", not {str(value).lower() if isinstance(value, bool) else repr(value)}"
    return ""


def _choice(expected: str, value: object, *, hide: bool) -> str:
    words = [word.strip("' ") for word in expected.split(",")]
    sentence = f"one of {', '.join(words)} is expected"
    if hide or not isinstance(value, str | int):
        return sentence
    suggestion = _suggestion(value, words) if isinstance(value, str) else ""
    return f"{sentence}{_quote(value)}{suggestion}"


def _unknown_key(location: tuple[str | int, ...]) -> str:
    known = list(section_at(location[:-1]).model_fields)
    suggestion = _suggestion(str(location[-1]), known)
    return f"unknown key{suggestion or '; known here: ' + ', '.join(known)}"


def _suggestion(word: str, known: list[str]) -> str:
    close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _description(location: tuple[str | int, ...]) -> str:
    field = section_at(location[:-1]).model_fields[str(location[-1])]
    description = (field.description or "").rstrip(".")
    return description if description[:2].isupper() else description[:1].lower() + description[1:]
