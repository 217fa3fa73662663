"""The transcripts in refusals/: what is written, and every line that the operator is told, word for word.

A transcript has a preamble that stands above each block, ``====``, and blocks: YAML, then the answers
after ``=>``, each beginning with its line. Secrets are called swordfish; ``${SECRET}`` is one.
"""

from pathlib import Path

import pytest

from metaproxy.config import ConfigError, load_config

TRANSCRIPTS = sorted((Path(__file__).parent / "refusals").glob("*.txt"))

Block = tuple[str, list[str]]


def blocks(transcript: Path) -> list[Block]:
    head, _, body = transcript.read_text().partition("====\n")
    preamble = head.partition("\n\n")[2]
    return [(preamble + written(block), answers(block)) for block in body.strip("\n").split("\n\n")]


def written(block: str) -> str:
    return "".join(f"{line}\n" for line in block.splitlines() if not line.startswith("=> "))


def answers(block: str) -> list[str]:
    return [line.removeprefix("=> ") for line in block.splitlines() if line.startswith("=> ")]


ALL = [
    pytest.param(*block, id=f"{transcript.stem}: {block[1][0]}")
    for transcript in TRANSCRIPTS
    for block in blocks(transcript)
]


def refusal(folder: Path, text: str) -> list[str]:
    file = folder / "metaproxy.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file, {"SECRET": "swordfish"})
    return [str(problem).replace(f"{folder}/", "") for problem in error.value.problems]


@pytest.mark.parametrize(("text", "expected"), ALL)
def test_an_operator_is_told(tmp_path: Path, text: str, expected: list[str]) -> None:
    told = refusal(tmp_path, text)

    assert [line.removeprefix("metaproxy.yaml:") for line in told] == expected


@pytest.mark.parametrize(("text", "expected"), ALL)
def test_no_secret_is_repeated(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert "swordfish" not in "\n".join(refusal(tmp_path, text))


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = refusal(
        tmp_path,
        "server: {workers: 2, lisen: 127.0.0.1:80}\n"
        "admin: {listen: 0.0.0.0:80}\n"
        "upstream: {targets: [x], queue: many}\n"
        "identity: {provider: none}\n"
        "cache: {routes: [{path: /a}], routes: []}\n"
        "store: {url: '${NOPE}'}\n",
    )

    assert [line.split(": ")[:2] for line in told] == [
        ["metaproxy.yaml:1", "server.lisen"],
        ["metaproxy.yaml:2", "admin.token"],
        ["metaproxy.yaml:3", "upstream.targets[0]"],
        ["metaproxy.yaml:3", "upstream.queue"],
        ["metaproxy.yaml:5", "cache.routes"],
        ["metaproxy.yaml:5", "cache.scope"],
        ["metaproxy.yaml:6", "store.url"],
    ]
