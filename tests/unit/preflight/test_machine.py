"""The limits of this machine, as far as they can be known anywhere."""

import os
import resource

import pytest

from metaproxy.preflight import this_machine


def test_the_hard_limit_of_descriptors_is_the_one_of_the_process() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert hard in (this_machine({}).descriptors, resource.RLIM_INFINITY)


def test_the_memory_is_at_most_that_of_the_machine() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert 0 < this_machine({}).memory <= total


@pytest.mark.parametrize(
    ("environ", "passed"),
    [
        ({}, set()),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, set()),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}, {"server"}),
        (
            {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"},
            {"server", "admin"},
        ),
    ],
)
def test_sockets_that_systemd_passes_are_known_by_the_section_they_are_for(
    environ: dict[str, str], passed: set[str]
) -> None:
    assert this_machine(environ).passed == passed
