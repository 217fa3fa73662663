"""The line around a WSGI application, driven as a server drives it."""

import json
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import metaproxy.wsgi
from metaproxy.asgi import ResponseAborted
from metaproxy.config import ConfigError, load_config
from metaproxy.wsgi import Filter, app_factory
from metaproxy.wsgi.filter import IN_PROCESS
from tests.e2e.processes import ROOT, wait_until
from tests.wsgi.pipeline import ALICE, CHUNK, CHUNKS, CONFIG, ITEM, ComputeAPI, write_config


class Answer:
    """What a WSGI server would send."""

    status = 0
    headers: list[tuple[str, str]]
    body = b""

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.status, self.headers = int(status[:3]), headers
        return lambda _: None

    def header(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]


def environ_for(method: str, path: str, headers: dict[str, str], body: bytes, **extra: str) -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path}
    environ |= {"QUERY_STRING": "", **extra}
    setup_testing_defaults(environ)
    for name, value in headers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    if body:
        environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"] = str(len(body)), "application/octet-stream"
    environ["wsgi.input"] = BytesIO(body)
    return environ


def ask(
    app: Any,
    method: str = "GET",
    path: str = ITEM,
    *,
    headers: dict[str, str] = ALICE,
    body: bytes = b"",
    **extra: str,
) -> Answer:
    """Send one request to ``app``, whose use of WSGI wsgiref holds to PEP 3333."""
    answer = Answer()
    pieces = validator(app)(environ_for(method, path, headers, body, **extra), answer.start)
    try:
        answer.body = b"".join(pieces)
    finally:
        pieces.close()  # type: ignore[attr-defined]  # the validator insists on it
    return answer


@pytest.fixture
def compute() -> ComputeAPI:
    return ComputeAPI()


@pytest.fixture
def line(compute: ComputeAPI, tmp_path: Path) -> Iterator[Filter]:
    line = Filter(validator(compute), write_config(tmp_path))
    yield line
    line.close()


def test_the_application_is_told_who_asks(line: Filter) -> None:
    told = json.loads(ask(line, headers={**ALICE, "X-Roles": "admin", "X-User-Id": "forged"}).body)
    assert (told["HTTP_X_USER_ID"], told["HTTP_X_ROLES"]) == ("u1", "member")
    assert told["HTTP_X_IDENTITY_STATUS"] == "Confirmed"


def test_without_a_token_the_application_is_not_asked(line: Filter, compute: ComputeAPI) -> None:
    assert ask(line, headers={}).status == 401
    assert compute.answers == 0


def test_a_second_read_comes_from_memory(line: Filter, compute: ComputeAPI) -> None:
    first, second = ask(line), ask(line)
    assert first.body == second.body
    assert compute.answers == 1
    assert second.header("Cache-Status")[0].startswith("metaproxy; hit")


def test_rates_are_held(line: Filter) -> None:
    assert [ask(line, "DELETE").status for _ in range(2)] == [200, 413]


def test_another_tenant_is_forbidden(line: Filter) -> None:
    assert ask(line, path=ITEM.replace("p1", "p2")).status == 403


def test_bodies_pass_both_ways(line: Filter) -> None:
    body = bytes(range(256)) * 4096
    answer = ask(line, "POST", "/v2.1/p1/echo", body=body)
    assert (answer.status, answer.body) == (201, body)


def test_what_the_application_writes_and_yields_comes_in_order(line: Filter) -> None:
    assert ask(line, path="/v2.1/p1/written").body == b"written, yielded"


def test_the_answer_streams(line: Filter, compute: ComputeAPI) -> None:
    pieces = iter(line(environ_for("GET", "/v2.1/p1/stream", ALICE, b""), Answer().start))
    assert next(pieces) == CHUNK
    assert compute.closed == 0
    assert len(b"".join(pieces)) == (CHUNKS - 1) * len(CHUNK)


def test_a_client_that_hangs_up_ends_the_application(tmp_path: Path) -> None:
    compute = ComputeAPI()
    line = Filter(compute, write_config(tmp_path))
    pieces: Any = line(environ_for("GET", "/v2.1/p1/stream", ALICE, b""), Answer().start)
    next(pieces)
    pieces.close()
    line.close()
    wait_until(lambda: compute.closed == 1, what="the end of the application's answer")


def test_a_defect_of_the_application_is_a_500_that_tells_nothing(line: Filter) -> None:
    answer = ask(line, path="/v2.1/p1/broken")
    assert (answer.status, json.loads(answer.body)["computeFault"]["code"]) == (500, 500)
    assert b"defect" not in answer.body


def test_half_an_answer_is_aborted(line: Filter) -> None:
    with pytest.raises(ResponseAborted):
        ask(line, path="/v2.1/p1/torn")


def test_the_path_is_that_of_the_whole_request_wherever_the_filter_is_mounted(line: Filter) -> None:
    told = json.loads(ask(line, path=ITEM.removeprefix("/v2.1"), SCRIPT_NAME="/v2.1").body)
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/v2.1", ITEM.removeprefix("/v2.1"))


def test_a_prefix_is_taken_off_for_the_line_and_not_for_the_application(
    compute: ComputeAPI, tmp_path: Path
) -> None:
    line = Filter(compute, write_config(tmp_path, CONFIG + "upstream: {strip_prefix: /compute}\n"))

    told = json.loads(ask(line, path="/p1/servers", SCRIPT_NAME="/compute/v2.1").body)

    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/compute/v2.1", "/p1/servers")
    assert ask(line, path="/p2/servers", SCRIPT_NAME="/compute/v2.1").status == 403
    line.close()


@pytest.mark.parametrize("variable", ["RAW_URI", "REQUEST_URI"])
def test_an_escaped_slash_is_refused_where_the_server_tells_of_it(line: Filter, variable: str) -> None:
    told = ITEM.replace("/metadata", "%2Fmetadata")
    answer = ask(line, RAW_URI=told) if variable == "RAW_URI" else ask(line, REQUEST_URI=told)
    assert answer.status == 400


def test_a_path_that_is_no_text_is_refused_and_does_not_hinder_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_config(tmp_path, CONFIG.replace("access: false", "access: true"))
    line = Filter(ComputeAPI(), file)

    answer = ask(line, path="/v2.1/p1/\xff")
    line.close()

    assert answer.status == 400
    [logged] = [json.loads(text) for text in capfd.readouterr().out.splitlines() if '"request"' in text]
    assert (logged["path"], logged["reason"]) == ("/v2.1/p1/\N{REPLACEMENT CHARACTER}", "path_ambiguous")


def test_a_stale_request_line_is_not_believed(line: Filter) -> None:
    assert ask(line, RAW_URI="/somewhere/else").status == 200


def test_a_configuration_without_upstream_is_enough(tmp_path: Path) -> None:
    file = write_config(tmp_path)
    with pytest.raises(ConfigError, match="upstream"):
        load_config(file)
    load_config(file, overrides=IN_PROCESS)


def test_the_pipeline_that_is_deployed_has_a_configuration_that_loads() -> None:
    folder = ROOT / "deploy/paste"
    environ = {"KEYSTONE_PASSWORD": "secret"}
    assert load_config(folder / "metaproxy.yaml", environ, IN_PROCESS).identity.provider == "keystone-v3"


def test_the_factories_are_named_for_paste() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, name in (("paste.filter_factory", "filter_factory"), ("paste.app_factory", "app_factory")):
        assert named[group] == {"main": f"metaproxy.wsgi:{name}"}
        assert callable(getattr(metaproxy.wsgi, name))


def test_the_whole_line_is_an_application_for_paste(tmp_path: Path) -> None:
    write_config(tmp_path, f"server: {{}}\nupstream: {{targets: ['http://127.0.0.1:9']}}\n{CONFIG}")
    proxy = app_factory({"here": str(tmp_path)}, config="metaproxy.yaml")
    assert ask(proxy, headers={}).status == 401
    assert ask(proxy).status == 502
    proxy.close()
