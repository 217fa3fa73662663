from pathlib import Path
from typing import Any

from metaproxy.admin.app import operations
from tests.unit.admin.operated import Operated, told

METHODS = {"get", "post"}


async def document(folder: Path) -> dict[str, Any]:
    written: dict[str, Any] = told(await Operated(folder).get("/openapi.json"))
    return written


async def test_every_operation_is_documented(tmp_path: Path) -> None:
    paths = (await document(tmp_path))["paths"]

    for operation in operations(Operated(tmp_path)):
        documented = paths[operation.path][operation.method.lower()]
        assert documented["summary"] == operation.summary
        assert "200" in documented["responses"]


async def test_every_path_of_the_document_is_served(tmp_path: Path) -> None:
    operated = Operated(tmp_path)

    for path, methods in (await document(tmp_path))["paths"].items():
        for method in methods.keys() & METHODS:
            answer = await (operated.get(path) if method == "get" else operated.post(path, {"no": "sense"}))
            assert answer.status != 404, path
            assert answer.status != 405, path


async def test_every_schema_that_is_referred_to_stands_in_the_document(tmp_path: Path) -> None:
    written = await document(tmp_path)
    schemas = written["components"]["schemas"]

    for reference in references(written):
        assert reference.removeprefix("#/components/schemas/") in schemas


async def test_operations_have_names_of_their_own(tmp_path: Path) -> None:
    paths = (await document(tmp_path))["paths"].values()
    names = [operation["operationId"] for methods in paths for operation in methods.values()]

    assert len(names) == len(set(names))


def references(node: Any) -> list[str]:
    """Every ``$ref`` below ``node``."""
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []
