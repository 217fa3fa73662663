"""The examples of config/MIDDLEWARE.md, run as they stand."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaproxy.wsgi import Filter
from tests.asgi_driver import drive

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "config/MIDDLEWARE.md").read_text()
BLOCKS = re.findall(r"^## ([^\n]+)\n|```python\n(.*?)```", GUIDE, re.DOTALL | re.MULTILINE)
ALICE = [("X-Auth-Token", "alice-token")]


def example(title: str, number: int = 0) -> dict[str, Any]:
    """Run a block of the chapter ``title``; return what it defines."""
    chapter = ""
    found = []
    for heading, code in BLOCKS:
        chapter = heading or chapter
        if code and chapter == title:
            found.append(code)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(found[number], f"{title}.py", "exec"), names)
    return names


async def test_starlette_checks_tokens_holds_rates_and_answers_from_memory() -> None:
    app = example("Starlette")["app"]
    path = "/images/70a599e0/metadata/label"
    assert (await drive(app, "GET", path)).status == 401
    first, second, third, fourth = [await drive(app, "GET", path, ALICE) for _ in range(4)]
    assert first.body == second.body == b'{"meta":{"label":"alice"}}'
    assert (second.header("cache-status") or "").startswith("metaproxy; hit")
    assert (third.status, fourth.status) == (200, 413)


def test_a_keystone_is_a_validator_without_more() -> None:
    names = example("Starlette", 1)
    assert names["Authenticate"](None, validator=names["validator"]).validator is not names["validator"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/health", [], 200),
        ("/", [], 401),
        ("/", ALICE, 200),
        ("/admin/x", ALICE, 403),
        ("/a/../b", ALICE, 400),
    ],
)
async def test_a_bare_application_is_guarded(path: str, headers: list[tuple[str, str]], status: int) -> None:
    answer = await drive(example("A bare application")["app"], "GET", path, headers)
    assert answer.status == status
    assert len(answer.all("x-compute-request-id")) == 1


async def test_the_whole_line_lives_with_the_lifespan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = example("The whole line")["app"]
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    told: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": next(events)}

    async def send(message: Any) -> None:
        told.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_wsgi_filter_tells_the_application_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    application: Filter = example("WSGI")["application"]
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v2.1/p1/servers",
        "wsgi.input": None,
        "HTTP_X_AUTH_TOKEN": "alice-token",
    }
    statuses: list[str] = []

    def start_response(status: str, headers: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda piece: None

    body = b"".join(application(environ, start_response))
    application.close()
    assert (statuses, body) == (["200 OK"], b"alice")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", GUIDE))
def test_what_the_guide_links_is_there(link: str) -> None:
    assert (ROOT / "config" / link).exists()
