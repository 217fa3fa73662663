"""Dashboard and alerts name only metrics that a running proxy shows."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from metaproxy.demo.world import ALICE
from tests.deploy.files import DEPLOY, documents
from tests.e2e.conftest import compute, folder, identity
from tests.e2e.deployment import ITEM, Proxy, Sections, running_proxy
from tests.e2e.processes import accepts, wait_until
from tests.ports import HeldPorts

__all__ = ["compute", "folder", "identity"]

METRIC = re.compile(r"\b(?:metaproxy|process)_[a-z_]+\b(?!:)")
WITH_TLS = {"metaproxy_tls_certificate_not_after_seconds", "metaproxy_tls_handshake_failures_total"}
"""Shown only by a process that has a certificate."""
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DEPLOY / "grafana" / "metaproxy.json").read_text())
    return read


def rules() -> list[dict[str, Any]]:
    (alerts,) = documents("prometheus/alerts.yaml")
    return [rule for group in alerts["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    variables = [variable["query"] for variable in dashboard()["templating"]["list"]]
    return panels + variables + [rule["expr"] for rule in rules()]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory, compute: str, identity: str) -> set[str]:
    """The names of all samples of a proxy that has forwarded, answered from memory and refused."""
    rate = {"name": "all", "per": ["project"], "rate": "2/hour", "burst": 2}
    sections: Sections = {"limits": {"rates": [rate], "absolute": {"concurrent": {"max": 100}}}}
    directory = tmp_path_factory.mktemp("scraped")
    with running_proxy(directory, upstream=compute, identity=identity, sections=sections) as proxy:
        assert statuses(proxy) == [200, 200, 413]
        text = httpx.get(f"{proxy.admin_url}/metrics", trust_env=False).text
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def statuses(proxy: Proxy) -> list[int]:
    with proxy.client(ALICE) as alice:
        return [alice.get(ITEM).status_code for _ in range(3)]


@pytest.mark.e2e
def test_every_metric_of_the_dashboard_and_the_alerts_exists(scraped: set[str]) -> None:
    named = {name for expression in expressions() for name in METRIC.findall(expression)}

    assert len(named) > 25
    assert named - scraped - WITH_TLS == set()


@pytest.mark.e2e
def test_every_metric_of_ours_but_details_stands_in_the_dashboard_or_the_alerts(scraped: set[str]) -> None:
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    ours = {name for name in scraped if name.startswith("metaproxy_")}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}

    assert len(shown & families) > 0.6 * len(shown)


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24


def test_every_alert_says_what_is_wrong() -> None:
    for rule in rules():
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


@pytest.mark.parametrize(
    "metric",
    [
        "metaproxy_log_lines_dropped_total",
        "metaproxy_tls_handshake_failures_total",
        "metaproxy_connections_refused_total",
    ],
)
def test_what_no_access_line_can_show_has_an_alert(metric: str) -> None:
    assert any(metric in rule["expr"] for rule in rules())


TOKEN = "the-admin-token"


def prometheus_configuration(folder: Path, *targets: str) -> Path:
    """Write deploy/prometheus/prometheus.yaml with its credential in ``folder``, for ``targets`` if any.

    Debian's Prometheus is built without Kubernetes, so pods are looked up in a file in its place.
    """
    (folder / "token").write_text(TOKEN)
    text = (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
    text = text.replace("/etc/prometheus/secrets/metaproxy_admin_token", str(folder / "token"))
    configuration = yaml.safe_load(text)
    configuration["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in configuration["rule_files"]]
    if targets:
        (machines,) = (job for job in configuration["scrape_configs"] if "static_configs" in job)
        machines["static_configs"] = [{"targets": list(targets)}]
        machines["scrape_interval"] = "1s"
        configuration["scrape_configs"] = [machines]
    for job in configuration["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None) is not None:
            job["file_sd_configs"] = [{"files": [str(folder / "pods.json")]}]
    written = folder / "prometheus.yaml"
    written.write_text(yaml.safe_dump(configuration))
    return written


@needs_promtool
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["promtool", "check", "config", str(prometheus_configuration(tmp_path))],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus")
def test_prometheus_scrapes_with_the_credential_that_its_configuration_names(
    tmp_path: Path, compute: str, identity: str
) -> None:
    sections: Sections = {"admin": {"token": TOKEN}}
    with (
        running_proxy(tmp_path / "p", upstream=compute, identity=identity, sections=sections) as proxy,
        HeldPorts() as held,
        (tmp_path / "log").open("wb") as log,
    ):
        assert httpx.get(f"{proxy.admin_url}/metrics", trust_env=False).status_code == 401
        file = prometheus_configuration(tmp_path, f"127.0.0.1:{proxy.admin_port}")
        listen = f"127.0.0.1:{held.first}"
        command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={tmp_path}/data"]
        process = subprocess.Popen(
            [*command, f"--web.listen-address={listen}"], stdout=log, stderr=log, cwd=tmp_path
        )
        try:
            with httpx.Client(base_url=f"http://{listen}/api/v1", timeout=300, trust_env=False) as asking:
                wait_until(lambda: accepts(held.first) or process.poll() is not None, what="Prometheus")
                assert process.poll() is None, (tmp_path / "log").read_text()
                wait_until(lambda: bool(scraped_value(asking, "up")), what="the first scrape")

                assert scraped_value(asking, "up") == "1"
                assert scraped_value(asking, "metaproxy_requests_total") or scraped_value(
                    asking, "process_open_fds"
                )
        finally:
            process.terminate()
            process.wait(20)


def scraped_value(prometheus: httpx.Client, name: str) -> str:
    """Return the first value of a metric at Prometheus, "" if there is none."""
    answer = prometheus.get("/query", params={"query": name})
    found = answer.json()["data"]["result"] if answer.is_success else []
    return found[0]["value"][1] if found else ""


@needs_promtool
@pytest.mark.parametrize(
    "command", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")]
)
def test_prometheus_accepts_the_alerts(command: tuple[str, ...]) -> None:
    ran = subprocess.run(
        ["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_promtool
def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    targets = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    written = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(targets)
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": written}]}))

    ran = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_promtool
@pytest.mark.e2e
def test_prometheus_finds_nothing_wrong_with_what_is_scraped(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with running_proxy(tmp_path, upstream=compute, identity=identity) as proxy:
        statuses(proxy)
        text = httpx.get(f"{proxy.admin_url}/metrics", trust_env=False).text

    ran = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
