import asyncio
from pathlib import Path

import pytest

from metaproxy.server.watch import changes, digest


def after(folder: Path, change: str) -> None:
    """Change the file ``metaproxy.yaml`` in ``folder`` the way that ``change`` names."""
    file = folder / "metaproxy.yaml"
    match change:
        case "written":
            file.write_text("new")
        case "renamed":
            (folder / "other").write_text("new")
            (folder / "other").rename(file)
        case "linked":  # as Kubernetes changes a ConfigMap
            (folder / "..new").mkdir()
            (folder / "..new" / "metaproxy.yaml").write_text("new")
            (folder / "link").symlink_to("..new/metaproxy.yaml")
            (folder / "link").rename(file)


@pytest.mark.parametrize("change", ["written", "renamed", "linked"])
async def test_new_content_is_noticed_however_it_comes(tmp_path: Path, change: str) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text("old")
    found = changes(file, digest(file))
    noticed = asyncio.ensure_future(anext(found))
    await asyncio.sleep(0)

    after(tmp_path, change)

    async with asyncio.timeout(20):
        await noticed
    await found.aclose()


async def test_the_same_content_written_again_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text("old")
    found = changes(file, digest(file))
    noticed = asyncio.ensure_future(anext(found))
    await asyncio.sleep(0)

    for _ in range(5):
        file.write_text("old")
        await asyncio.wait((noticed,), timeout=0.1)

    assert not noticed.done()
    noticed.cancel()
    await asyncio.wait((noticed,))
    await found.aclose()


async def test_what_changed_before_the_watch_began_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text("old")
    known = digest(file)
    file.write_text("new")

    found = changes(file, known)

    async with asyncio.timeout(20):
        await anext(found)
    await found.aclose()
