import pytest

from tests.bench import sizing
from tests.bench.machine import BenchError

STEPS = [
    ("the start", 68 * sizing.MIB),
    ("20 000 tokens", 100 * sizing.MIB),
    ("40 000 tokens", 100 * sizing.MIB + 20_000 * 1536),
    ("the last 20 000 twice again", 140 * sizing.MIB),
]


def test_the_table_has_every_step_and_what_a_token_takes() -> None:
    text = sizing.table(STEPS, "python -m tests.bench.sizing --tokens 40000")

    assert text.startswith("    python -m tests.bench.sizing --tokens 40000\n\nPython 3.")
    assert "| the start | 68 MiB |\n| 20 000 tokens | 100 MiB |\n| 40 000 tokens | 129 MiB |\n" in text
    assert "From 20 000 tokens to 40 000 tokens, a token with its counter takes 1.5 KiB." in text


def test_one_step_does_not_tell_what_a_token_takes() -> None:
    with pytest.raises(BenchError):
        sizing.per_token(STEPS[:2])


def test_the_document_has_a_place_for_it() -> None:
    before, begin, rest = sizing.SIZING.read_text().partition(sizing.BEGIN)
    measured, end, after = rest.partition(sizing.END)

    assert begin
    assert end
    assert before
    assert after
    assert "a token with its counter takes" in measured
