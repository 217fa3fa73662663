"""What stands in config/: the commented reference, the examples, the schema and the table of keys."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from metaproxy.cache.settings import Cache
from metaproxy.config import Config, load_config
from metaproxy.config.keys import Key, every_key
from metaproxy.config.model.identity import KeystoneV3Settings
from metaproxy.config.model.operations import Logging, Store, Tracing
from metaproxy.config.model.server import Admin, Server, Via
from metaproxy.config.reference import json_schema, key_reference
from metaproxy.protocol.cross_origin import CorsSettings
from metaproxy.protocol.header_edits import HeaderSettings
from metaproxy.protocol.limits.settings import Limits

FOLDER = Path(__file__).parents[3] / "config"
REFERENCE = FOLDER / "metaproxy.yaml"
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))
ENVIRON = {
    "ALICE_TOKEN": "alice",
    "EDGE_SECRET": "secret",
    "BOB_TOKEN_HASH": "sha256:" + "0" * 64,
    "IDENTITY_PASSWORD": "secret",
    "KEYSTONE_PASSWORD": "secret",
    "KEYSTONE_SECRET": "secret",
    "METAPROXY_ADMIN_TOKEN": "secret",
    "REDIS_URL": "redis://:secret@redis.example:6379/0",
    "TOKEN_KEY": sha256(b"a key").hexdigest(),
}
OTHER_WAY = re.compile(r"( *)#\| (.*)")

KEYS = {key.path: key for key in every_key()}
"""Every key of the model by its path."""


def active_text() -> str:
    """The reference with secrets that can be read here."""
    return re.sub(r"\$\{file:/run/secrets/\w+\}", "secret", REFERENCE.read_text())


def other_ways() -> Iterator[tuple[str, str]]:
    """Yield what the lines with ``#|`` say, each block with the section it stands in, or ""."""
    section, indent, lines = "", 0, list[str]()
    for line in [*active_text().splitlines(), ""]:
        found = OTHER_WAY.fullmatch(line)
        if lines and (found is None or not found[2].startswith(" ")):
            yield section if indent else "", "\n".join(lines)
            lines = []
        if found:
            indent = len(found[1])
            lines.append(found[2])
        elif re.match(r"\w+:", line):
            section = line.partition(":")[0]


WAYS = list(other_ways())


def explained(text: str, prefix: str = "") -> Iterator[str]:
    """Yield the path of every key in ``text`` that has a comment beside it or above it."""
    lines = text.splitlines()
    root = yaml.compose(text)
    for path, line in placed(root, prefix) if root else ():
        above = lines[line - 1].strip() if line else ""
        if " # " in lines[line] or (above.startswith("#") and not above.startswith("#|")):
            yield path


def placed(node: Node, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield every key under ``node`` with the line that it stands on, from 0."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from placed(item, f"{prefix.removesuffix('.')}[].")
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            path = f"{prefix}{key.value}"
            yield path, key.start_mark.line
            yield from placed(value, f"{path}{variant(value)}.")


def variant(node: Node) -> str:
    """``(static)`` for an identity section of that provider."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == "provider":
                return f"({value.value})"
    return ""


def declared(key: Key) -> tuple[str, str]:
    """The class that declares a key, and its name: what both Keystones share needs one explanation."""
    name = key.path.rpartition(".")[2]
    owner = next(
        base for base in reversed(key.section.__mro__) if name in vars(base).get("__annotations__", {})
    )
    return owner.__name__, name


def test_every_key_stands_explained_in_the_reference() -> None:
    paths = {*explained(active_text())}
    for section, text in WAYS:
        paths |= {
            *explained(
                text,
                {"": "", "server": "server.", "limits": "limits.", "identity": "identity(keystone-v3)."}[
                    section
                ],
            )
        }

    missing = {declared(key) for key in KEYS.values()} - {declared(KEYS[path]) for path in paths}
    assert missing == set()


def test_the_reference_loads(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(active_text())

    config = load_config(file, {})

    assert isinstance(config.identity, KeystoneV3Settings)
    assert len(config.limits.rates) == 2
    assert len(config.cache.routes) == 2


def test_the_reference_shows_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(active_text())
    config = load_config(file, {})

    assert config.server == Server()
    assert config.admin == Admin()
    assert config.via == Via()
    assert (config.headers, config.cors) == (HeaderSettings(), CorsSettings())
    assert (
        config.authorization.model_copy(update={"rules": ()}) == Config.model_fields["authorization"].default
    )
    assert config.limits.model_copy(update={"rates": ()}) == Limits()
    assert config.cache.model_copy(update={"routes": ()}) == Cache()
    assert (config.store, config.logging, config.tracing) == (Store(), Logging(), Tracing())
    for section in (config.upstream, config.identity):
        for name, field in type(section).model_fields.items():
            assert field.is_required() or name == "advertise" or getattr(section, name) == field.default


@pytest.mark.parametrize(("section", "text"), WAYS)
def test_every_other_way_of_the_reference_loads(tmp_path: Path, section: str, text: str) -> None:
    (tmp_path / "tokens.yaml").write_text("- {token: a, user: {id: b}}\n")
    whole: dict[str, Any] = yaml.safe_load(active_text())
    changed = yaml.safe_load(text)
    if section:
        whole[section] |= changed
    else:
        minimal = {"server": {}, "upstream": whole["upstream"], "identity": {"provider": "none"}}
        whole = minimal | changed
    file = tmp_path / "metaproxy.yaml"
    file.write_text(yaml.safe_dump(whole))

    assert isinstance(load_config(file, ENVIRON), Config)


def test_there_is_another_way_for_each_provider_and_each_login() -> None:
    ways = [yaml.safe_load(text) for section, text in WAYS if not section]
    providers = {way["identity"]["provider"] for way in ways if "identity" in way}

    assert providers == {"keystone-v2", "static", "none"}
    assert sum(text.startswith("login:") for _, text in WAYS) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads(example: Path) -> None:
    assert isinstance(load_config(example, ENVIRON), Config)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_the_schema(example: Path) -> None:
    jsonschema.validate(yaml.safe_load(example.read_text()), json_schema())


def test_the_reference_fits_the_schema() -> None:
    jsonschema.validate(yaml.safe_load(REFERENCE.read_text()), json_schema())


def test_the_schema_refuses_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="'lisen' does not match"):
        jsonschema.validate({"lisen": "127.0.0.1:80"}, json_schema())


def test_the_schema_in_the_repository_is_in_step() -> None:
    assert json.loads((FOLDER / "metaproxy.schema.json").read_text()) == json_schema(), "run make docs"


def test_the_table_of_keys_in_the_repository_is_in_step() -> None:
    assert (FOLDER / "REFERENCE.md").read_text() == key_reference(), "run make docs"


def test_the_table_of_keys_names_every_key() -> None:
    table = key_reference()

    written = [re.sub(r"^(\w+)\(.*?\)", r"\1", key.path) for key in every_key() if "." in key.path]
    assert [path for path in written if f"| `{path}` |" not in table] == []
