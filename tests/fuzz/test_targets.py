"""Every target keeps its promise for bytes put together at random."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import WORDS
from tests.fuzz.targets import TARGETS


def put_together(name: str) -> st.SearchStrategy[bytes]:
    piece = st.one_of(st.sampled_from(WORDS[name]), st.binary(max_size=8))
    return st.lists(piece, max_size=16).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_target_keeps_its_promise_for_any_bytes(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(put_together(name)))
