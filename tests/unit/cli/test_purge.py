"""``metaproxy purge``: what it is asked for is checked before anything is sent."""

import pytest

from tests.unit.cli.test_tokens import admin_listener, run


@pytest.mark.parametrize("path", ["/c/p?q=1", "http://api/c/p", "c/p", "/c/p#top", "?"])
def test_what_cannot_be_a_path_is_refused(path: str) -> None:
    with admin_listener({"purged": 0}) as (url, sent):
        refused = run("purge", "--path", path, "--admin", url)

    assert refused.exit_code == 2
    assert "begins with /" in refused.output
    assert sent == []


def test_a_path_is_purged() -> None:
    with admin_listener({"purged": 3}) as (url, sent):
        purged = run("purge", "--path", "/c/p", "--admin", url)

    assert purged.exit_code == 0
    assert purged.output.startswith("purged 3 answers")
    assert [body for *_, body in sent] == [{"path": "/c/p"}]
