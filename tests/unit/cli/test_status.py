import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from metaproxy.cli.admin import AdminClient
from metaproxy.cli.status import duration, hit_ratio, lines, register

TOLD: Any = {
    "version": "1.0",
    "ready": True,
    "draining": False,
    "uptime_seconds": 61.0,
    "checks": {"upstream": {"well": True, "says": "1 of 1 healthy"}},
    "requests": {"hit": 3, "forwarded": 1},
    "upstream": [{"name": "http://a", "healthy": False, "breaker": "open", "active_requests": 0}],
    "cache": {"entries": 7, "bytes": 900, "max_bytes": 1000},
}


@pytest.mark.parametrize(
    "line",
    [
        "metaproxy 1.0: ready, up 1 min",
        "  ok  upstream   1 of 1 healthy",
        "  requests   3 hit, 1 forwarded",
        "  hit ratio  75.0%",
        "  upstream   http://a UNHEALTHY, breaker open",
        "  cache      7 answers, 900 of 1000 bytes",
    ],
)
def test_an_answer_is_told_in_lines(line: str) -> None:
    assert line in list(lines(TOLD))


def test_one_of_several_workers_says_that_it_speaks_for_itself_alone() -> None:
    first, *_ = lines(TOLD | {"worker": 1, "workers": 3})

    assert first == "metaproxy 1.0: ready, up 1 min, worker 1 alone, of 3"


def test_what_is_not_well_stands_out() -> None:
    told = TOLD | {"ready": False, "checks": {"upstream": {"well": False, "says": "0 of 1 healthy"}}}

    assert list(lines(told))[:2] == [
        "metaproxy 1.0: not ready, up 1 min",
        "  BAD upstream   0 of 1 healthy",
    ]


def test_what_is_degraded_is_told_apart_from_what_makes_it_unready() -> None:
    told = TOLD | {
        "degraded": ["upstream"],
        "checks": {"upstream": {"well": False, "says": "0 of 1 healthy"}},
    }

    assert list(lines(told))[:2] == [
        "metaproxy 1.0: ready, degraded (upstream), up 1 min",
        "  !!  upstream   0 of 1 healthy",
    ]


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("127.0.0.1:9774", "http://127.0.0.1:9774"),
        ("[::1]:9774", "http://[::1]:9774"),
        ("http://a:1", "http://a:1"),
        ("/run/admin.sock", "unix:/run/admin.sock"),
        ("unix:/run/admin.sock", "unix:/run/admin.sock"),
    ],
)
def test_a_listener_can_be_named_without_its_scheme(url: str, asked: str) -> None:
    assert AdminClient(url).url == asked


def test_without_requests_and_cache_nothing_is_made_up() -> None:
    told = TOLD | {"requests": {}, "cache": None}

    assert "  requests   none yet" in list(lines(told))
    assert not any("hit ratio" in line or "  cache" in line for line in lines(told))


@pytest.mark.parametrize(
    ("requests", "ratio"),
    [
        ({}, None),
        ({"refused": 5}, None),
        ({"hit": 1, "forwarded": 1}, 0.5),
        ({"stale": 1, "revalidated": 1, "collapsed": 1, "hit": 1}, 1.0),
        ({"forwarded": 1, "failed": 9}, 0.0),
    ],
)
def test_the_hit_ratio_is_the_share_of_answers_from_memory(
    requests: dict[str, float], ratio: float | None
) -> None:
    assert hit_ratio(requests) == ratio


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "6 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")])
def test_a_time_stands_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@contextmanager
def listener(told: dict[str, Any]) -> Iterator[str]:
    """An admin listener that answers everything with ``told``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("state", "arguments", "code"),
    [
        ({"ready": True, "degraded": []}, [], 0),
        ({"ready": True, "degraded": ["upstream"]}, [], 0),
        ({"ready": True, "degraded": []}, ["--strict"], 0),
        ({"ready": True, "degraded": ["upstream"]}, ["--strict"], 1),
        ({"ready": False, "degraded": []}, [], 1),
    ],
)
def test_the_exit_code_says_whether_it_is_ready_and_strictly_whether_it_is_degraded(
    state: dict[str, Any], arguments: list[str], code: int
) -> None:
    application = typer.Typer()
    register(application)

    with listener(TOLD | state) as admin:
        result = CliRunner().invoke(application, ["--admin", admin, *arguments])

    assert result.exit_code == code
