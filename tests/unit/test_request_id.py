import uuid

import pytest

from metaproxy.request_id import is_request_id, new_request_id

WELL_FORMED = b"req-7f3c1e52-9a0b-4c4d-8e6f-0123456789ab"


def test_every_request_id_is_req_and_a_version_4_uuid() -> None:
    for request_id in (new_request_id() for _ in range(50)):
        parsed = uuid.UUID(request_id.removeprefix("req-"))

        assert request_id == f"req-{parsed}"
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(10000)}) == 10000


@pytest.mark.parametrize(
    ("field_value", "is_one"),
    [
        (WELL_FORMED, True),
        (WELL_FORMED.upper(), True),
        (b"req-", False),
        (b"", False),
        (WELL_FORMED + b" ", False),
        (WELL_FORMED[4:], False),
    ],
)
def test_what_another_service_may_have_written_is_known(field_value: bytes, is_one: bool) -> None:
    assert is_request_id(field_value) is is_one
