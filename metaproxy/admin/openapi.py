"""``/openapi.json``: the admin interface as an OpenAPI 3.1 document, made of the operations themselves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from metaproxy.admin.operation import Operation, Problem
from metaproxy.version import __version__

PLAIN: Mapping[str, tuple[str, str, tuple[int, ...]]] = {
    "/": ("The operator's page.", "text/html", (200,)),
    "/healthz": ("Tell whether the process is alive.", "application/json", (200,)),
    "/readyz": (
        "Tell whether the process may be given requests, why not, and what is degraded.",
        "application/json",
        (200, 503),
    ),
    "/metrics": ("Every number, for Prometheus.", "text/plain", (200,)),
    "/openapi.json": ("This document.", "application/json", (200,)),
}
"""Paths that are not operations: summary, media type, statuses."""

REFUSALS = {
    "400": "What is asked cannot be read.",
    "401": "A Bearer token is needed, or the one shown is wrong.",
    "403": "Another web page asked.",
    "409": "What is configured does not allow it.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The Host is not the listener's.",
    "422": "The configuration was refused.",
    "503": "Other replicas could not be told.",
}

REF = "#/components/schemas/{name}"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document for ``operations`` and for what is plain."""
    types = [Problem, *_types(operations)]
    references, components = msgspec.json.schema_components(types, ref_template=REF)
    schemas = dict(zip(map(id, types), references, strict=True))
    paths: dict[str, dict[str, Any]] = {path: {"get": _plain(path)} for path in PLAIN}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _documented(
            operation, schemas, components
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "metaproxy, for its operator",
            "version": __version__,
            "description": "Never on the listener that clients reach.",
        },
        "security": [{}, {"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    found = [type_ for each in operations for type_ in (each.answered, each.asked) if type_ is not None]
    return list({id(type_): type_ for type_ in found}.values())


def _plain(path: str) -> dict[str, Any]:
    summary, media_type, statuses = PLAIN[path]
    answers = {str(status): {"description": summary, "content": {media_type: {}}} for status in statuses}
    return {"summary": summary, "operationId": _name("GET", path), "responses": answers}


def _documented(
    operation: Operation, schemas: Mapping[int, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _name(operation.method, operation.path),
    }
    if operation.asked is not None and operation.method == "GET":
        asked = components[operation.asked.__name__]
        told["parameters"] = [
            {"name": name, "in": "query", "required": name in asked.get("required", ()), "schema": schema}
            for name, schema in asked["properties"].items()
        ]
    elif operation.method == "POST":
        schema = schemas[id(operation.asked)] if operation.asked is not None else {}
        told["requestBody"] = {
            "required": operation.asked is not None,
            "content": {"application/json": {"schema": schema}},
        }
    told["responses"] = {
        "200": _answer(operation.summary, schemas[id(operation.answered)]),
        **{status: _answer(text, schemas[id(Problem)]) for status, text in REFUSALS.items()},
    }
    return told


def _answer(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _name(method: str, path: str) -> str:
    words = [word for word in path.replace(".", "/").split("/") if word] or ["page"]
    return "_".join([method.lower(), *words])
