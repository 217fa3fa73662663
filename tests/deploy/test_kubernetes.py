import re
from pathlib import Path
from typing import Any

import pytest

from metaproxy.config import Config, load_config
from tests.deploy.files import DEPLOY, documents, kubernetes
from tests.deploy.memory import FREE, needed

OBJECTS = list(kubernetes())
NAMES = [f"{file}:{document['kind']}" for file, document in OBJECTS]


def pods() -> list[dict[str, Any]]:
    return [
        document["spec"]["template"]["spec"] for _, document in OBJECTS if document["kind"] == "Deployment"
    ]


def metaproxy_of(pod: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = [*pod["containers"], *pod.get("initContainers", [])]
    (found,) = (container for container in containers if container["name"] == "metaproxy")
    return found


def one(kind: str, file: str) -> dict[str, Any]:
    (found,) = (document for name, document in OBJECTS if (document["kind"], name) == (kind, file))
    return found


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The configuration of the ConfigMap, with the Secret's values where it looks for them."""
    for name, value in one("Secret", "secret.yaml")["stringData"].items():
        (tmp_path / name).write_text(value)
    text = one("ConfigMap", "configmap.yaml")["data"]["metaproxy.yaml"]
    file = tmp_path / "metaproxy.yaml"
    file.write_text(text.replace("/run/secrets/metaproxy", str(tmp_path)))
    return load_config(file, environ={})


@pytest.mark.parametrize(("file", "document"), OBJECTS, ids=NAMES)
def test_every_object_has_a_kind_and_a_name(file: str, document: dict[str, Any]) -> None:
    assert document["apiVersion"]
    assert document["kind"] == "Kustomization" or document["metadata"]["name"]


def test_what_is_applied_together_is_there() -> None:
    for resource in one("Kustomization", "kustomization.yaml")["resources"]:
        assert (DEPLOY / "kubernetes" / resource).is_file()


def test_the_configuration_loads(config: Config) -> None:
    assert config.store.url is not None


@pytest.mark.parametrize("pod", pods(), ids=["alone", "sidecar"])
def test_the_container_has_no_privileges_and_writes_nowhere(pod: dict[str, Any]) -> None:
    context = pod.get("securityContext", {}) | metaproxy_of(pod)["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("pod", pods(), ids=["alone", "sidecar"])
def test_the_probes_ask_what_the_admin_listener_answers(pod: dict[str, Any], config: Config) -> None:
    container = metaproxy_of(pod)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    assert ports == {"http": config.server.listen[0].port, "admin": config.admin.listen[0].port}
    probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert {probe: told["path"] for probe, told in probes.items()} == {
        "startup": "/healthz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }


@pytest.mark.parametrize("pod", pods(), ids=["alone", "sidecar"])
def test_it_may_drain_before_it_is_killed(pod: dict[str, Any], config: Config) -> None:
    (command, seconds) = metaproxy_of(pod)["lifecycle"]["preStop"]["exec"]["command"]

    assert command == "sleep"
    assert pod["terminationGracePeriodSeconds"] >= config.server.shutdown_grace + int(seconds) + 10


def test_beside_the_api_metaproxy_ends_first() -> None:
    (pod,) = (pod for pod in pods() if "initContainers" in pod)

    assert [container["name"] for container in pod["containers"]] == ["metaproxy"]
    assert [(each["name"], each["restartPolicy"]) for each in pod["initContainers"]] == [
        ("nova-api", "Always")
    ]


@pytest.mark.parametrize("pod", pods(), ids=["alone", "sidecar"])
def test_the_memory_limit_fits_what_the_defaults_may_use(pod: dict[str, Any]) -> None:
    sizing = (DEPLOY.parent / "config" / "SIZING.md").read_text()
    told = re.search(r"everything above full at the same time \| (\d+) MiB", sizing)

    assert told is not None
    assert metaproxy_of(pod)["resources"]["limits"]["memory"] == f"{told[1]}Mi"


@pytest.mark.parametrize("pod", pods(), ids=["alone", "sidecar"])
def test_the_memory_limit_fits_what_the_shipped_configuration_may_use(
    pod: dict[str, Any], config: Config
) -> None:
    limit = metaproxy_of(pod)["resources"]["limits"]["memory"]

    assert needed(config) <= (1 - FREE) * int(limit.removesuffix("Mi"))


def test_a_rollout_takes_no_replica_away_before_its_successor_is_ready() -> None:
    for document in (each for _, each in OBJECTS if each["kind"] == "Deployment"):
        assert document["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert document["spec"]["minReadySeconds"] > 0


@pytest.mark.parametrize("file", ["deployment.yaml", "sidecar.yaml"])
def test_what_selects_pods_selects_those_of_its_file(file: str) -> None:
    objects = {document["kind"]: document["spec"] for name, document in OBJECTS if name == file}
    labels = objects["Deployment"]["template"]["metadata"]["labels"]

    assert objects["Deployment"]["selector"]["matchLabels"].items() <= labels.items()
    assert objects["Service"]["selector"].items() <= labels.items()
    assert objects["PodDisruptionBudget"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_operators_monitor_reads_the_port_and_the_secret_that_are_there() -> None:
    monitor = one("PodMonitor", "podmonitor.yaml")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    (selected,) = monitor["selector"]["matchExpressions"]
    names = {
        document["spec"]["template"]["metadata"]["labels"][selected["key"]]
        for _, document in OBJECTS
        if document["kind"] == "Deployment"
    }
    secret = one("Secret", "secret.yaml")
    credentials = endpoint["authorization"]["credentials"]

    assert set(selected["values"]) == names
    assert endpoint["port"] in {port["name"] for pod in pods() for port in metaproxy_of(pod)["ports"]}
    assert credentials["name"] == secret["metadata"]["name"]
    assert credentials["key"] in secret["stringData"]


def test_the_policy_lets_through_what_the_configuration_needs() -> None:
    policy = one("NetworkPolicy", "networkpolicy.yaml")["spec"]
    egress = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    ingress = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}

    assert egress == {8774, 5000, 6379, 53}
    assert ingress == {8774, 9774}


def test_objects_mean_the_same_pods() -> None:
    (deployment,) = (each for each in documents("kubernetes/deployment.yaml") if each["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (service,) = (each for each in documents("kubernetes/deployment.yaml") if each["kind"] == "Service")

    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    selected = one("NetworkPolicy", "networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= labels.items()
    scaled = one("HorizontalPodAutoscaler", "hpa.yaml")["spec"]["scaleTargetRef"]
    assert scaled["name"] == deployment["metadata"]["name"]
