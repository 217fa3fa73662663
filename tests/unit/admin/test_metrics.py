from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metaproxy.version import __version__
from tests.unit.admin.operated import Operated


async def samples(operated: Operated) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = await operated.get("/metrics")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_prometheus_can_read_them(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).get("/metrics")

    assert (answer.header("content-type") or "").startswith("text/plain; version=")
    assert list(text_string_to_metric_families(answer.body.decode()))


async def test_the_build_stands_there(tmp_path: Path) -> None:
    found = await samples(Operated(tmp_path))

    assert any(name == "metaproxy_build_info" and __version__ in labels for name, labels in found)


@pytest.mark.parametrize(("draining", "ready"), [(False, 1.0), (True, 0.0)])
async def test_readiness_is_a_number_by_reason(tmp_path: Path, draining: bool, ready: float) -> None:
    operated = Operated(tmp_path)
    operated.application.draining = draining

    assert (await samples(operated))["metaproxy_ready", ("server",)] == ready


async def test_what_is_degraded_is_a_number_and_not_a_reason_to_be_unready(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    operated.application.forward.targets[0].health.checked(0.0, healthy=False)

    found = await samples(operated)

    assert found["metaproxy_degraded", ("upstream",)] == 1.0
    assert ("metaproxy_ready", ("upstream",)) not in found


async def test_a_refused_configuration_is_counted(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    operated.state = replace(operated.state, reloads_refused=2, problems=("line 3: no",))

    found = await samples(operated)

    assert found["metaproxy_config_reloads_refused_total", ()] == 2
    assert found["metaproxy_config_last_reload_successful", ()] == 0
    assert found["metaproxy_config_generation", ()] == 1


async def test_the_numbers_are_those_of_the_application_in_use(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    await operated.get("/metrics")

    operated.application = Operated(tmp_path).application
    operated.application.metrics.counter("metaproxy_new", "New.").add()

    assert (await samples(operated))["metaproxy_new_total", ()] == 1
