"""What the demo prints can be pasted."""

import re
import shlex

from metaproxy.demo.session import STEPS, session
from metaproxy.demo.world import ALICE, RED_IMAGE

TEXT = session(proxy="http://p:1", admin="http://a:2", compute="http://c:3")


def test_every_line_is_a_command_a_comment_or_text_above_the_first_command() -> None:
    commands = TEXT.split("\n\n", 1)[1].splitlines()
    for line in filter(None, commands):
        assert line.startswith(("# ", "curl ", "for ", "export ")), line
        assert shlex.split(line, comments=True) or line.startswith("#")


def test_every_variable_is_exported_first() -> None:
    exports = [line for line in TEXT.splitlines() if line.startswith("export ")]
    exported = set(re.findall(r"(\w+)=", " ".join(exports)))
    assert exported == {name for _, command in STEPS for name in re.findall(r"\$([A-Z]+)", command)}


def test_it_reads_the_item_of_the_documentation() -> None:
    assert f"ALICE={ALICE.token}" in TEXT
    assert f"/images/{RED_IMAGE.id}/metadata/label" in TEXT


def test_urls_are_filled_in() -> None:
    assert "http://c:3/_demo/requests" in TEXT
    assert "http://a:2/healthz" in TEXT
    assert "{" not in re.sub(r"'\{.*\}'", "", TEXT)
