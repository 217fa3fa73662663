import re
from pathlib import Path

import pytest

from metaproxy.config import load_config
from metaproxy.demo.world import METAPROXY
from tests.deploy.files import DEPLOY, documents
from tests.deploy.image import ROOT, steps

STEPS = list(steps())
LAST_STAGE = STEPS[max(index for index, (name, _) in enumerate(STEPS) if name == "FROM") :]


def test_only_known_instructions_stand_in_the_dockerfile() -> None:
    known = {
        "ARG",
        "FROM",
        "LABEL",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "EXPOSE",
        "HEALTHCHECK",
        "STOPSIGNAL",
    }

    assert {name for name, _ in STEPS} <= known | {"ENTRYPOINT", "CMD"}


def test_what_is_copied_from_the_repository_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name, arguments in STEPS:
        if name == "COPY" and "--from" not in arguments:
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source.removeprefix("./") not in ignored


def test_the_image_is_built_in_a_stage_of_its_own() -> None:
    assert [name for name, _ in STEPS].count("FROM") == 2
    assert ("COPY", "--from=build /opt/metaproxy /opt/metaproxy") in LAST_STAGE


def test_the_process_is_nobody_special() -> None:
    assert [arguments for name, arguments in LAST_STAGE if name == "USER"] == ["65532:65532"]


def test_its_health_is_asked_with_a_command_that_exists() -> None:
    (check,) = (arguments for name, arguments in LAST_STAGE if name == "HEALTHCHECK")

    assert check.endswith('CMD ["python", "-I", "-S", "/opt/metaproxy/healthcheck.py"]')
    assert (ROOT / "metaproxy" / "healthcheck.py").is_file()


def test_what_the_build_needs_of_the_project_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    copied = " ".join(arguments for name, arguments in STEPS if name == "COPY")

    pattern = r'^license-files = \["([^"]+)"|^fragments = .*path = "([^"]+)"|^"(config/[^"]+)" = "metaproxy/'
    needed = {"".join(names) for names in re.findall(pattern, project, re.MULTILINE)}
    assert {"README.md", "LICENSE", "config/metaproxy.yaml", "config/metaproxy.schema.json"} <= needed
    for name in needed:
        assert name in copied


@pytest.fixture
def services() -> dict[str, dict[str, object]]:
    (compose,) = documents("compose.yaml")
    found: dict[str, dict[str, object]] = compose["services"]
    return found


def test_no_service_of_compose_can_write_or_gain_privileges(services: dict[str, dict[str, object]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["user"] != "root", name


def test_only_this_machine_reaches_what_compose_publishes(services: dict[str, dict[str, object]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]  # type: ignore[attr-defined] # a list

    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_the_configuration_of_compose_loads_and_names_its_services(
    services: dict[str, dict[str, object]],
) -> None:
    environment = {"METAPROXY_ADMIN_TOKEN": "token", "KEYSTONE_PASSWORD": METAPROXY.password}

    config = load_config(DEPLOY / "compose.metaproxy.yaml", environ=environment)

    assert {"compute", "keystone", "redis"} <= services.keys()
    assert str(config.upstream.targets[0]) == "http://compute:18774"
    assert services["first"]["environment"]["KEYSTONE_PASSWORD"] == METAPROXY.password  # type: ignore[index] # a mapping


def test_the_screenshot_is_small_enough_for_a_readme() -> None:
    assert Path(DEPLOY / "page.png").stat().st_size < 200 * 1024
