"""The descriptors that every process has: 0, 1 and 2."""

import os

STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR = 0, 1, 2


def keep_descriptors() -> None:
    """Occupy the standard descriptors that are closed, so that no file or connection gets their number.

    A write to one of them fails, as it would on a closed one.
    """
    for descriptor in (STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free
