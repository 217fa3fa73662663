import re
from pathlib import Path

import pytest

from metaproxy.admin.operator_page import load
from tests.unit.admin.operated import Operated


async def test_the_page_is_served_with_all_that_it_names(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    page = (await operated.get("/")).body.decode()

    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        assert (await operated.get(f"/{name}")).status == 200, name


@pytest.mark.parametrize("name", sorted(name for name in load() if name.endswith(".js")))
def test_every_module_that_is_imported_is_there(name: str) -> None:
    assets = load()

    for imported in re.findall(r'from "\./([^"]+)"', assets[name].body.decode()):
        assert imported in assets


@pytest.mark.parametrize("name", sorted(load()))
def test_nothing_of_the_page_comes_from_elsewhere(name: str) -> None:
    text = load()[name].body.decode().replace("http://www.w3.org/2000/svg", "")

    assert "http:" not in text
    assert "https:" not in text


def test_the_page_has_no_script_or_style_within() -> None:
    page = load()["index.html"].body.decode()

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", page)


async def test_a_file_that_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    first = await operated.get("/page/main.js")

    again = await operated.get("/page/main.js", ("if-none-match", first.header("etag") or ""))

    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "__init__.py"])
async def test_nothing_else_of_the_package_is_served(tmp_path: Path, name: str) -> None:
    assert (await Operated(tmp_path).get(f"/page/{name}")).status == 404
