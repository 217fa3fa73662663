from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from metaproxy.store.causes import cause_of


def script(error: str) -> ResponseError:
    """Return what Redis 6 replies if a command in a script fails with ``error``."""
    return ResponseError(f"ERR Error running script (call to f_0a1b): @user_script: 8: {error}")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(111, "refused"), "refused"),
        (TimeoutError("no answer within 0.05 s"), "timeout"),
        (Exception("NOAUTH Authentication required."), "authentication"),
        (Exception("READONLY You can't write against a read only replica."), "read_only"),
        (Exception("OOM command not allowed when used memory > 'maxmemory'."), "out_of_memory"),
        (ValueError("?"), "other"),
        (script("-READONLY You can't write against a read only replica."), "read_only"),
        (script("-OOM command not allowed when used memory > 'maxmemory'."), "out_of_memory"),
        (script("-MISCONF Redis is configured to save RDB snapshots"), "cannot_persist"),
        (script("-NOREPLICAS Not enough good replicas to write."), "no_replicas"),
        (script("The user executing the script can't run this command or subcommand"), "permission"),
        (ResponseError("NOPERM ACL failure in script: User x has no permissions"), "permission"),
        (script("Wrong number of args calling Redis command"), "refused_command"),
        (ResponseError("ERR unknown command"), "refused_command"),
    ],
)
def test_a_failure_of_the_store_has_a_word(error: Exception, word: str) -> None:
    assert cause_of(error) == (word, str(error))


@pytest.mark.parametrize(
    "said", ["MISCONF Redis cannot save", "OOM used memory > 'maxmemory'.", 'OOM "used"']
)
@pytest.mark.parametrize("written", [str, lambda said: str((said,))], ids=["as it is", "as arguments"])
def test_the_command_of_a_pipeline_that_failed_is_not_repeated(
    said: str, written: Callable[[str], str]
) -> None:
    error = ResponseError(f"Command # 1 (SET key secret) of pipeline caused error: {written(said)}")

    assert cause_of(error)[1] == said
    assert cause_of(error)[0] in ("cannot_persist", "out_of_memory")
