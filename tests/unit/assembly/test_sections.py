"""Each section becomes the part that it describes."""

from pathlib import Path

import pytest

from metaproxy.app import operation_routes
from metaproxy.assembly.limits import counted_answers, limits, rates
from metaproxy.assembly.parts import forward
from metaproxy.assembly.shared import Shared
from metaproxy.assembly.tls import TlsError, client_context
from metaproxy.config.model.upstream import ClientTls
from metaproxy.filters.authorize import Authorize
from metaproxy.filters.concurrency import ConcurrencyLimit, Running
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.metadata_items import MetadataItemLimit
from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.store.memory import MemoryCounters
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import drive
from tests.filters.limiting import Upstream
from tests.unit.assembly.configured import STATIC, config

ALL_ON = """
limits:
  absolute: {request_body: 1MiB, items_returned: 1000, image_metadata_items: 40, concurrent: {max: 100}}
"""
ALL_OFF = """
limits:
  endpoint: null
  absolute: {request_body: null, items_returned: null, image_metadata_items: null, concurrent: null}
"""


@pytest.mark.parametrize(
    ("section", "checks", "stages"),
    [
        ("", [RateLimit], []),
        (
            ALL_ON,
            [RequestBodyLimit, ConcurrencyLimit, RateLimit],
            [MetadataItemLimit, LimitsEndpoint],
        ),
        (ALL_OFF, [RateLimit], []),
    ],
)
def test_what_charges_comes_last_and_what_is_off_is_not_there(
    tmp_path: Path, section: str, checks: list[type], stages: list[type]
) -> None:
    said = config(tmp_path, STATIC, section)
    counted = rates(said.limits, Shared(said.store), MemoryCounters())

    made = limits(said.limits, counted, Running(), Metrics())
    around = counted_answers(Upstream(), said.limits, counted, Metrics())

    assert [type(check) for check in made] == checks
    assert [type(stage) for stage in around] == stages


RULE = """
limits:
  rates:
    - {name: a, path: "/x/{y}", methods: [GET], per: [project, y], rate: 7/hour, burst: 3}
"""


def test_a_rule_is_what_the_operator_wrote(tmp_path: Path) -> None:
    said = config(
        tmp_path,
        STATIC,
        RULE,
    )

    [rule] = rates(said.limits, Shared(said.store), MemoryCounters()).rules

    assert (rule.name, rule.path, rule.per) == ("a", "/x/{y}", ("project", "y"))
    assert rule.counted_methods == {"GET", "HEAD"}
    assert (rule.limit, rule.period_seconds, rule.burst) == (7, 3600, 3)


RULES = """
authorization:
  rules:
    - {path: /open/**, roles: [ANY]}
    - {path: /closed/**, roles: []}
    - {path: /both, methods: [GET], roles: [a, b], all_roles: true}
"""


@pytest.mark.parametrize(("path", "status"), [("/open/x", 200), ("/closed/x", 403), ("/both", 403)])
async def test_role_rules_hold(tmp_path: Path, path: str, status: int) -> None:
    stage = Authorize(Upstream(), config(tmp_path, STATIC, RULES).authorization)

    assert (await drive(stage, "GET", path)).status == status


async def test_a_target_is_forwarded_to_as_it_was_written(tmp_path: Path) -> None:
    made = forward(config(tmp_path, STATIC).upstream, b"1.1 metaproxy", Metrics())

    assert [target.name for target in made.targets] == ["http://127.0.0.1:9"]
    await made.close()


def test_routes_are_named_by_known_operations_and_by_what_is_configured(tmp_path: Path) -> None:
    said = config(
        tmp_path, STATIC, "limits: {rates: [{name: a, path: /v2.1/servers/**, rate: 1/second}]}", RULES
    )

    routes = operation_routes(said)

    names = [
        match.template if (match := routes.match(path)) else "" for path in ("/v2.1/servers/1", "/open/1")
    ]
    assert names == ["/v2.1/servers/**", "/open/**"]
    found = routes.match("/v2.1/images/i1/metadata/k")
    assert found is not None
    assert found.captures == {"image_id": "i1", "key": "k"}


def test_a_tls_file_that_cannot_be_used_is_named_with_its_section(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"^upstream\.tls\.ca: .*missing\.pem: No such file"):
        client_context(ClientTls(ca=tmp_path / "missing.pem"), "upstream")


def test_checking_certificates_can_be_switched_off() -> None:
    context = client_context(ClientTls(verify=False), "upstream")

    assert not context.check_hostname
