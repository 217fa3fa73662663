"""The settings of every test, and the option with which a skipped test fails."""

import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

# Without these files each of the hundreds of processes that tests start would compile the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Coverage of the processes that tests start would double the time of the suite, which is mostly such starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    os.environ.pop("COVERAGE_PROCESS_START", None)

# A deadline by the clock measures how busy the machine is; what is slow is found by tests/bench.
settings.register_profile("metaproxy", deadline=None)
settings.load_profile("metaproxy")


# Files whose few tests take long: begun last, one of them would keep a single worker busy to the end.
SLOW = ("install/", "deploy/", "clients/", "browser/", "e2e/", "fuzz/", "test_skips.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the slow files begin first; otherwise the order stays."""
    tests = config.rootpath / "tests"

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(tests).as_posix() if item.path.is_relative_to(tests) else ""
        return next((rank for rank, slow in enumerate(SLOW) if name.startswith(slow)), len(SLOW))

    items.sort(key=rank)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that continuous integration uses."""
    group = parser.getgroup("metaproxy")
    group.addoption("--no-skips", action="store_true", help="a skipped test fails")
    group.addoption(
        "--may-skip",
        action="append",
        default=[],
        metavar="REASON",
        help="unless for this reason",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that was skipped fail if ``--no-skips`` says so."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_if_skipped(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a file that was skipped as a whole fail if ``--no-skips`` says so."""
    report = yield
    _fail_if_skipped(report, collector.config)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if not (report.skipped and config.getoption("no_skips")):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason not in config.getoption("may_skip"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which --no-skips forbids: {reason}"
