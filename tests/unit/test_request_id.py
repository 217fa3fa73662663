import uuid

import pytest

from metaproxy.request_id import is_request_id, new_request_id


@pytest.mark.parametrize("request_id", [new_request_id() for _ in range(50)])
def test_every_request_id_is_req_and_a_version_4_uuid(request_id: str) -> None:
    parsed = uuid.UUID(request_id.removeprefix("req-"))

    assert request_id == f"req-{parsed}"
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(10000)}) == 10000


@pytest.mark.parametrize(
    ("field_value", "is_one"),
    [
        (new_request_id().encode(), True),
        (new_request_id().upper().encode(), True),
        (b"req-", False),
        (b"", False),
        (new_request_id().encode() + b" ", False),
        (new_request_id().encode()[4:], False),
    ],
)
def test_what_another_service_may_have_written_is_known(field_value: bytes, is_one: bool) -> None:
    assert is_request_id(field_value) is is_one
