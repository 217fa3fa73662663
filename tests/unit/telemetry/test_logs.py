import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from metaproxy.asgi import ResponseAborted
from metaproxy.telemetry import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")

    structlog.get_logger("metaproxy").warning("something", number=7)

    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["number"]) == ("something", "warning", 7)


def test_a_traceback_stays_inside_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")

    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("metaproxy").exception("failed")

    [line] = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_the_level_can_be_changed_at_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    logger = structlog.get_logger("metaproxy")

    logger.info("unseen")
    logs.set_level("debug")
    logger.debug("seen")

    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["seen"]


def test_the_console_is_for_eyes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("console", "info")

    structlog.get_logger("metaproxy").info("something", number=7)

    assert "something" in capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_tells_no_values_of_variables(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.configure(log_format, "info")
    token = "gAAAA" + "secret"

    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("metaproxy").exception("failed")

    shown = capsys.readouterr().err
    assert "ValueError: broken" in shown
    assert token not in shown


def test_the_servers_report_of_an_answer_that_we_broke_off_is_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json", "info")
    logger = logging.getLogger("uvicorn.error")

    logger.error("Exception in ASGI application", exc_info=ResponseAborted("x"))
    logger.error("Exception in ASGI application", exc_info=asyncio.CancelledError("x"))
    logger.error("Exception in ASGI application", exc_info=ValueError("x"))

    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(log_format, "debug")

    def fails(token: str) -> None:
        raise ValueError(f"{len(token)} characters")

    try:
        fails("s3cr3t" + "-token")
    except ValueError:
        structlog.get_logger("metaproxy").exception("failed")

    told = capsys.readouterr().err
    assert "12 characters" in told
    assert "s3cr3t-token" not in told
