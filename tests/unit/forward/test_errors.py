import httpx
import pytest

from metaproxy.forward import errors
from metaproxy.forward.errors import fault_of, is_failure_of_target


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (httpx.ConnectError(""), 502, "upstream_refused"),
        (errors.NameNotResolved(""), 502, "upstream_unresolved"),
        (errors.TLSFailed(""), 502, "upstream_tls"),
        (httpx.ConnectTimeout(""), 504, "upstream_connect_timeout"),
        (httpx.ReadTimeout(""), 504, "upstream_read_timeout"),
        (httpx.WriteTimeout(""), 504, "upstream_write_timeout"),
        (httpx.PoolTimeout(""), 503, "upstream_pool_timeout"),
        (errors.QueueFull(""), 503, "upstream_queue_full"),
        (errors.ConnectionReset(""), 502, "upstream_reset"),
        (httpx.WriteError(""), 502, "upstream_reset"),
        (errors.InvalidResponse(""), 502, "upstream_invalid"),
        (httpx.RemoteProtocolError(""), 502, "upstream_invalid"),
        (errors.TruncatedResponse(""), 502, "upstream_truncated"),
        (errors.UnsendableRequest(""), 400, "request_unsendable"),
        (httpx.ProxyError(""), 502, "upstream_failed"),
    ],
)
def test_every_error_has_its_answer(error: httpx.TransportError, status: int, reason: str) -> None:
    fault = fault_of(error)

    assert (fault.status, fault.reason) == (status, reason)


@pytest.mark.parametrize("error", [httpx.PoolTimeout(""), errors.QueueFull("")])
def test_a_503_says_when_to_come_again(error: httpx.TransportError) -> None:
    assert fault_of(error).retry_after == 1


def test_what_the_inside_says_stays_inside() -> None:
    fault = fault_of(httpx.ConnectError("no connection to 10.1.2.3"))

    assert "10.1.2.3" not in fault.message


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (httpx.ConnectError(""), True),
        (httpx.ReadTimeout(""), True),
        (errors.TruncatedResponse(""), True),
        (errors.QueueFull(""), False),
        (errors.UnsendableRequest(""), False),
    ],
)
def test_only_what_the_target_did_counts_against_it(error: httpx.TransportError, counts: bool) -> None:
    assert is_failure_of_target(error) is counts
