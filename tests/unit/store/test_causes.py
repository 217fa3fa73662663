import pytest

from metaproxy.store.causes import cause_of


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(111, "refused"), "refused"),
        (TimeoutError("no answer within 0.05 s"), "timeout"),
        (Exception("NOAUTH Authentication required."), "authentication"),
        (Exception("READONLY You can't write against a read only replica."), "read_only"),
        (Exception("OOM command not allowed when used memory > 'maxmemory'."), "out_of_memory"),
        (ValueError("?"), "other"),
    ],
)
def test_a_failure_of_the_store_has_a_word(error: Exception, word: str) -> None:
    assert cause_of(error) == (word, str(error))
