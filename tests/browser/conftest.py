"""A proxy with its operator's page, and a Chromium to look at it."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from metaproxy.demo.world import RED
from tests.e2e.conftest import compute, folder, identity
from tests.e2e.deployment import Proxy, Sections, running_proxy

__all__ = ["compute", "folder", "identity"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that an attacker has made to point at this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
)

LISTS = f"/v2.1/{RED.id}/images/detail"
RATE = {"name": "lists", "path": LISTS, "per": ["project"], "rate": "2/hour", "burst": 2}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory,
    compute: str,
    identity: str,
) -> Iterator[Proxy]:
    sections: Sections = {"limits": {"rates": [RATE]}}
    folder = tmp_path_factory.mktemp("seen")
    with running_proxy(folder, upstream=compute, identity=identity, sections=sections) as proxy:
        yield proxy


@pytest.fixture
def problems() -> list[str]:
    """What the browser complains about: errors in scripts, refused loads."""
    return []


@pytest.fixture
def page(browser: Browser, proxy: Proxy, problems: list[str]) -> Iterator[Page]:
    """The operator's page, open and showing something; nothing to complain about at the end."""
    context = browser.new_context()
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(proxy.admin_url)
    page.get_by_text("ready", exact=True).wait_for()
    yield page
    context.close()
    assert problems == []
