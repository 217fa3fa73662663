"""Whole folders of Repose's files: each becomes a configuration that loads and an honest report."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metaproxy.cli import application
from metaproxy.config import Config, load_config
from metaproxy.config.repose import Imported, import_folder

SETS = sorted(path for path in (Path(__file__).parent / "sets").iterdir() if path.is_dir())
FOLDERS = {folder.name: folder for folder in SETS}
SECRETS = {"KEYSTONE_PASSWORD": "k", "IDENTITY_PASSWORD": "i"}


def opened(name: str) -> Imported:
    """A set as it is converted for an operator who does without each guard that is not converted."""
    return import_folder(FOLDERS[name], import_folder(FOLDERS[name]).not_converted)


def loaded(name: str, folder: Path) -> Config:
    file = folder / "metaproxy.yaml"
    file.write_text(opened(name).yaml)
    return load_config(file, environ=SECRETS)


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_what_is_written_passes_the_check(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    output = tmp_path / "metaproxy.yaml"
    runner = CliRunner()
    accepted = [f"--accept-open={name}" for name in import_folder(folder).not_converted]
    imported = runner.invoke(application(), ["import-repose", str(folder), "-o", str(output), *accepted])
    assert (imported.exit_code, imported.stdout) == (0, "")
    checked = runner.invoke(application(), ["check", "--json", str(output)])
    errors = {found["message"] for found in json.loads(checked.stdout) if found["severity"] == "error"}
    # The certificates that Repose had are the operator's to put in place.
    assert errors <= {f"/etc/metaproxy/tls/server.{kind}: no such file" for kind in ("crt", "key")}


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_every_file_is_named_in_a_comment_or_in_the_report(folder: Path) -> None:
    imported = import_folder(folder)
    told = imported.yaml + "\n".join(map(str, imported.notes))
    # header-normalization and the like are told of at the place that named them.
    for path in folder.glob("*.cfg.xml"):
        assert path.name in told or path.name.removesuffix(".cfg.xml") in told


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_every_key_has_a_comment_that_names_its_element(folder: Path) -> None:
    lines = import_folder(folder).yaml.splitlines()
    for above, line in pairwise(lines):
        value = re.fullmatch(r"  (\w+): \S.*", line)
        assert not value or above.strip().startswith("# "), line


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_no_secret_is_copied(folder: Path) -> None:
    imported = import_folder(folder)
    told = imported.yaml + "\n".join(map(str, imported.notes))
    assert "in-xml" not in told


def test_rackspace_identity_brings_groups_prefixes_and_exempt_roles(tmp_path: Path) -> None:
    config = loaded("rackspace-v2", tmp_path)
    identity = config.identity
    assert identity.provider == "keystone-v2"
    assert (identity.groups, identity.tenant_prefixes) == (True, ("MossoCloudFS:", "hybrid:"))
    assert (identity.cache.ttl, identity.cache.jitter) == (300, 0.1)
    assert identity.anonymous == ("/", "/v2", "/v2/", "/{segment_1:(health|ping)}")
    assert config.authorization.tenant_exempt_roles == ("identity:user-admin",)
    assert config.authorization.tenant_paths == ("/v2/{tenant_id}/**",)


def test_rackspace_limits_keep_their_groups_and_the_default_has_none(tmp_path: Path) -> None:
    limits = loaded("rackspace-v2", tmp_path).limits
    assert [(rule.name, str(rule.rate), rule.groups) for rule in limits.rates] == [
        ("gold-reads", "5000/minute", ("gold", "platinum")),
        ("reads", "500/minute", ()),
        ("writes", "1000/hour", ()),
    ]
    assert (limits.algorithm, limits.endpoint) == ("fixed-window", "/v2/{tenant_id}/limits")
    assert limits.absolute.request_body == 512 * 1024


def test_imported_rates_count_every_name_of_a_resource(tmp_path: Path) -> None:
    assert not [rate.name for rate in loaded("rackspace-v2", tmp_path).limits.rates if rate.exact]


def test_container_and_pool_become_via_times_and_connections(tmp_path: Path) -> None:
    config = loaded("rackspace-v2", tmp_path)
    assert (config.via.pseudonym, config.via.version) == ("Repose", False)
    assert (config.upstream.timeouts.connect, config.upstream.timeouts.read) == (3.0, 45.0)
    assert config.upstream.max_connections == 200
    assert config.server.idle_timeout == 60.0


def test_a_node_with_tls_listens_with_tls_alone(tmp_path: Path) -> None:
    config = loaded("openstack-v3", tmp_path)
    assert [str(address) for address in config.server.listen] == ["0.0.0.0:8443"]
    assert config.server.tls is not None


def test_lines_of_rbac_are_rules_in_order_and_nothing_else_is_open_not_even_to_head(tmp_path: Path) -> None:
    rules = loaded("rbac", tmp_path).authorization.rules
    assert [(rule.methods, rule.roles) for rule in rules] == [
        (("HEAD",), ()),
        (("GET",), ("ANY",)),
        (("GET",), ("reader", "member")),
        (("GET",), ("reader", "member")),
        (("PUT", "DELETE"), ("admin", "image owner")),
        (("ALL",), ()),
    ]
    assert rules[-1].path == "/**"


def test_without_tokens_rates_count_by_address_and_groups_are_left_out(tmp_path: Path) -> None:
    imported = opened("ip-user")
    config = loaded("ip-user", tmp_path)
    assert config.identity.provider == "none"
    assert [(rule.name, rule.per) for rule in config.limits.rates] == [("all", ("address",))]
    assert config.limits.over_limit_status == 429
    assert any("limit-group 'inside'" in note.place and note.kind == "open" for note in imported.notes)


def test_global_captured_and_query_limits_are_kept(tmp_path: Path) -> None:
    rates = {rule.name: rule for rule in loaded("rates", tmp_path).limits.rates}
    assert set(rates) == {"everybody", "by-image", "polling"}
    assert rates["everybody"].per == ("global",)
    assert rates["by-image"].capture_groups
    assert rates["by-image"].captured_names() == ("image",)
    assert rates["polling"].query == ("changes-since", "limit")


def test_added_headers_are_added_or_set(tmp_path: Path) -> None:
    headers = loaded("ip-user", tmp_path).headers
    assert [(field.name, field.value.get_secret_value()) for field in headers.request.add] == [
        ("X-Edge", "ord;q=0.5")
    ]
    assert [field.name for field in headers.request.set] == ["X-Region"]
    assert [(field.name, field.value) for field in headers.response.set] == [
        ("Strict-Transport-Security", "max-age=31536000")
    ]
    assert headers.response.add == ()


def test_headers_that_are_struck_from_every_request_are_removed(tmp_path: Path) -> None:
    headers = loaded("rackspace-v2", tmp_path).headers
    assert (headers.request.remove, headers.response.remove) == (("Cookie",), ())


def test_pages_of_the_same_origins_may_ask(tmp_path: Path) -> None:
    cors = loaded("openstack-v3", tmp_path).cors
    assert cors.origins == ("https://horizon.example.org:8443",)
    assert cors.origin_patterns == (r"https://[a-z]+\.example\.com",)
    assert (cors.methods, cors.credentials) == (("GET", "PUT"), False)


REPORTED = [
    ("openstack-v3", "left out", "phone-home"),
    ("openstack-v3", "to do", "origin"),
    ("openstack-v3", "left out", "resource"),
    ("openstack-v3", "differs", "cross-origin-resource-sharing"),
    ("openstack-v3", "not converted", "cross-origin-resource-sharing"),
    ("openstack-v3", "left out", "response-messaging"),
    ("openstack-v3", "not converted", "@root-path"),
    ("openstack-v3", "not converted", "@bypass-uri-regex"),
    ("openstack-v3", "not converted", "service-endpoint"),
    ("openstack-v3", "not converted", "validate-project-id-in-uri"),
    ("rackspace-v2", "not converted", "node 'node2'"),
    ("rackspace-v2", "left out", "dist-datastore"),
    ("rackspace-v2", "not converted", "validate-tenant"),
    ("rackspace-v2", "not converted", "require-service-endpoint"),
    ("rackspace-v2", "differs", "header 'X-PP-User'"),
    ("rackspace-v2", "not converted", "header-filters / target"),
    ("rbac", "not converted", "line 6"),
    ("rbac", "differs", "simple-rbac"),
    ("rates", "not converted", "limit 'not known'"),
    ("rates", "not converted", "limit 'closed'"),
    ("rates", "not converted", "limit 'open'"),
    ("router", "not converted", "uri-stripper"),
    ("router", "not converted", "header-user"),
    ("router", "not converted", "destination-router"),
    ("router", "left out", "endpoint 'images'"),
    ("router", "not converted", "repose-cluster 'other'"),
    ("router", "not converted", "our-own-filter"),
    ("ip-user", "not converted", "filter 'add-header' @uri-regex"),
    ("ip-user", "not converted", "header 'X-PP-User'"),
    ("ip-user", "left out", "header 'Access-Control-Allow-Origin'"),
]


@pytest.mark.parametrize(("folder", "kind", "place"), REPORTED)
def test_what_has_no_equivalent_is_told(folder: str, kind: str, place: str) -> None:
    notes = import_folder(FOLDERS[folder]).notes
    assert [note for note in notes if note.kind == kind and place in note.place]
