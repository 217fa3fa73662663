from pathlib import Path
from typing import Any

import pytest

from metaproxy.config import Config, load_config
from tests.deploy.files import DEPLOY, documents, kubernetes

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
    assert pod["terminationGracePeriodSeconds"] > config.server.shutdown_grace + 5


def test_the_sidecar_is_a_native_one() -> None:
    (sidecar,) = (pod for pod in pods() if "initContainers" in pod)

    assert metaproxy_of(sidecar)["restartPolicy"] == "Always"


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
