"""What a web page of somebody else's can do to the listener through the operator's browser: nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Proxy
from tests.e2e.operating import Operator

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


class Handler(BaseHTTPRequestHandler):
    """Serves an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def foreign_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def foreign(browser: Browser, foreign_url: str) -> Iterator[Page]:
    """A page of another origin, open in the operator's browser."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(foreign_url)
        yield page


ATTEMPTS = {
    "as JSON": "{method: 'POST', body: '{\"all\": true}', headers: {'content-type': 'application/json'}}",
    "as a form would": "{method: 'POST', mode: 'no-cors', body: '{\"all\": true}'}",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_it_cannot_purge(foreign: Page, proxy: Proxy, attempt: str) -> None:
    with proxy.client(ALICE) as alice:
        alice.get(ITEM)

    foreign.evaluate(f"fetch('{proxy.admin_url}/cache/purge', {ATTEMPTS[attempt]}).catch(() => 0)")

    with Operator(proxy) as operator:
        assert operator.read("/cache")["usage"]["entries"] >= 1


def test_it_cannot_read(foreign: Page, proxy: Proxy) -> None:
    told = foreign.evaluate(
        f"fetch('{proxy.admin_url}/config').then((answer) => answer.text()).catch(() => 'nothing')"
    )

    assert told == "nothing"


def test_it_cannot_show_the_page_in_a_frame(foreign: Page, proxy: Proxy) -> None:
    foreign.evaluate(
        f"""() => new Promise((loaded) => {{
            const frame = document.createElement("iframe");
            frame.onload = loaded;
            frame.src = "{proxy.admin_url}/";
            document.body.append(frame);
        }})"""
    )

    (frame,) = foreign.main_frame.child_frames
    assert frame.locator("#overview").count() == 0


def test_a_name_that_was_made_to_point_here_shows_nothing(browser: Browser, proxy: Proxy) -> None:
    with browser.new_context() as context:
        page = context.new_page()

        answer = page.goto(f"http://rebound.example:{proxy.admin_port}/config")

        assert answer is not None
        assert answer.status == 421
