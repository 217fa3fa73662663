"""The operator's page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from metaproxy.demo.world import ALICE, RED, RED_IMAGE
from tests.browser.conftest import LISTS
from tests.e2e.deployment import ITEM, Proxy, Sections, running_proxy
from tests.e2e.operating import Operator, replace

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

CONSUMER = f"project:{RED.id}"
TOKEN = "an-operators-token"


def read(proxy: Proxy, path: str, times: int = 1) -> None:
    with proxy.client(ALICE) as alice:
        for _ in range(times):
            alice.get(path)


def test_it_shows_requests_by_outcome_and_the_hit_ratio(page: Page, proxy: Proxy) -> None:
    read(proxy, ITEM, times=5)

    expect(page.locator("#outcomes tr", has_text="hit")).to_be_visible()
    expect(page.locator("#figure-hits")).to_contain_text("%")
    expect(page.locator("#plot-requests path.of-hit")).to_have_count(1)


def test_everything_it_loads_comes_from_the_listener_itself(browser: Browser, proxy: Proxy) -> None:
    with browser.new_context() as context:
        asked: list[str] = []
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(proxy.admin_url)
        page.get_by_text("ready", exact=True).wait_for()

    assert len(asked) > 10
    assert all(url.startswith(proxy.admin_url + "/") for url in asked)


def test_what_is_stored_of_an_image_can_be_looked_at_and_purged(page: Page, proxy: Proxy) -> None:
    read(proxy, ITEM)
    stored = page.locator("#images tr", has_text=RED_IMAGE.id)

    stored.get_by_role("button", name="Show").click()
    expect(page.locator("#answers")).to_contain_text(ITEM)
    stored.get_by_role("button", name="Purge").click()

    expect(page.locator("#news")).to_contain_text(f"Purged {RED_IMAGE.id}")
    expect(page.locator("#images")).to_contain_text("nothing is stored")


def test_a_path_can_be_purged_by_its_name(page: Page, proxy: Proxy) -> None:
    read(proxy, ITEM)

    page.get_by_label("Purge", exact=True).select_option("a path")
    page.get_by_label("Id or path").fill(ITEM)
    page.get_by_label("Id or path").press("Enter")

    expect(page.locator("#news")).to_contain_text(f"Purged {ITEM}")


def test_a_purge_that_the_other_replicas_did_not_get_says_so(
    page: Page, proxy: Proxy, problems: list[str]
) -> None:
    error = "the others could not be told yet"
    page.route("**/cache/purge", lambda route: route.fulfill(status=503, json={"error": error}))

    page.get_by_label("Purge", exact=True).select_option("a path")
    page.get_by_label("Id or path").fill(ITEM)
    page.get_by_label("Id or path").press("Enter")

    expect(page.locator("#news")).to_contain_text(error)
    expect(page.locator("#news")).not_to_contain_text("Purged")
    (refused,) = problems  # the browser complains about every answer with this status
    assert "503" in refused
    problems.clear()


def test_everything_is_purged_only_after_a_question(page: Page, proxy: Proxy) -> None:
    read(proxy, ITEM)
    page.get_by_label("Purge", exact=True).select_option("everything")

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#purge button").click()
    kept = page.locator("#images tr", has_text=RED_IMAGE.id)
    expect(kept).to_be_visible()

    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#purge button").click()
    expect(page.locator("#images")).to_contain_text("nothing is stored")


def test_who_is_over_its_limit_stands_out_and_is_reset_from_the_keyboard(page: Page, proxy: Proxy) -> None:
    read(proxy, LISTS, times=4)
    consumer = page.locator("#top tr", has_text=CONSUMER)
    expect(consumer).to_contain_text("over its limit")
    expect(consumer).to_contain_text("%")

    consumer.get_by_role("button", name=f"Reset the limits of {CONSUMER}").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#news")).to_contain_text(f"The limits of {CONSUMER} begin anew")
    with proxy.client(ALICE) as alice:
        assert alice.get(LISTS).status_code == 200


def test_a_refresh_leaves_the_focus_where_it_is(page: Page, proxy: Proxy) -> None:
    read(proxy, ITEM)
    show = page.locator("#images tr", has_text=RED_IMAGE.id).get_by_role("button", name="Show")
    show.focus()

    for _ in range(2):
        page.wait_for_event("response", lambda response: response.url.endswith("/cache"))

    expect(show).to_be_focused()


def test_services_are_told_in_words_not_in_colours_alone(page: Page) -> None:
    expect(page.locator("#targets")).to_contain_text("✓ healthy")
    expect(page.locator("#checks")).to_contain_text("✓ well")
    expect(page.locator("#identity")).to_contain_text("keystone-v3 answers")


def test_the_loaded_configuration_is_shown_without_secrets(page: Page) -> None:
    page.get_by_text("In use, with every default").click()

    expect(page.locator("#config")).to_contain_text('"password": "***"')


def test_a_reload_is_told_and_a_refused_file_too(page: Page, proxy: Proxy) -> None:
    with Operator(proxy) as operator:
        before = operator.generation()
    good = proxy.config.read_text()

    page.get_by_role("button", name="Reload the file").click()
    expect(page.locator("#news")).to_contain_text(f"generation {before + 1} is in use")
    replace(proxy, "server: {listne: 1}\n")
    expect(page.locator("#problems")).to_contain_text("server.listne")
    replace(proxy, good)

    expect(page.locator("#problems")).to_be_empty(timeout=15_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Browser, proxy: Proxy, scheme: str) -> None:
    with browser.new_context(color_scheme="dark" if scheme == "dark" else "light") as context:
        page = context.new_page()
        page.goto(proxy.admin_url)
        page.get_by_text("ready", exact=True).wait_for()
        ratios: dict[str, float] = page.evaluate(CONTRASTS)

    assert len(ratios) > 20
    # WCAG 2.2 §1.4.3: 4.5 to 1.
    assert {text: ratio for text, ratio in ratios.items() if ratio < 4.5} == {}


def test_on_a_narrow_screen_nothing_sticks_out(browser: Browser, proxy: Proxy) -> None:
    with browser.new_context(viewport={"width": 360, "height": 700}) as context:
        page = context.new_page()
        page.goto(proxy.admin_url)
        page.get_by_text("ready", exact=True).wait_for()

        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name_and_every_section_a_heading(page: Page) -> None:
    controls: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")]
            .filter((one) => !one.ariaLabel && !one.textContent.trim() && !one.labels?.length)
            .map((one) => one.outerHTML)"""
    )

    assert controls == []
    for title in ("Overview", "Consumers", "Services", "Cache", "Configuration"):
        expect(page.get_by_role("region", name=title)).to_be_visible()


@pytest.fixture
def locked(tmp_path: Path, compute: str, identity: str) -> Iterator[Proxy]:
    """A proxy whose admin listener needs a token."""
    sections: Sections = {"admin": {"token": TOKEN}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        yield proxy


def test_where_a_token_is_needed_the_page_asks_for_it(browser: Browser, locked: Proxy) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(locked.admin_url)

        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("textbox", name="Token").press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()

        expect(page.get_by_text("ready", exact=True)).to_be_visible()


CONTRASTS = """() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) =>
    0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratios = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, .unseen, .skip, option")) continue;
    const [over, under] = [parse(getComputedStyle(element).color), background(element)].map(luminance);
    const ratio = (Math.max(over, under) + 0.05) / (Math.min(over, under) + 0.05);
    ratios[`${element.tagName} ${element.className} ${element.textContent.trim().slice(0, 40)}`] = ratio;
  }
  return ratios;
}"""
