"""metaproxy in the place of authtoken in Nova's own pipeline, as deploy/paste/api-paste.ini has it."""

import httpx
import pytest

from metaproxy.demo.world import ADMIN, ALICE, RED, RED_IMAGE

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILGSMTpESGoRCpGwhROjl85PLbjNE/18AqR2QkKUDzmC alice"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/v2.1/", 200)])
def test_version_documents_need_no_token(anybody: httpx.Client, path: str, status: int) -> None:
    assert anybody.get(path).status_code == status


def test_without_a_token_nova_is_not_asked(anybody: httpx.Client) -> None:
    answer = anybody.get("/v2.1/flavors")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")
    assert "X-Told-User" not in answer.headers


def test_an_unknown_token_is_refused(anybody: httpx.Client) -> None:
    assert anybody.get("/v2.1/flavors", headers={"X-Auth-Token": "unknown"}).status_code == 401


def test_novas_context_has_user_project_roles_and_catalog(alice: httpx.Client) -> None:
    answer = alice.get("/v2.1/flavors")

    assert (answer.status_code, answer.json()) == (200, {"flavors": []})
    assert answer.headers["X-Told-User"] == ALICE.id
    assert answer.headers["X-Told-Project"] == RED.id
    assert answer.headers["X-Told-Roles"] == ",".join(sorted(ALICE.roles))
    assert answer.headers["X-Told-Catalog"] == "compute"


def test_forged_identity_does_not_reach_nova(alice: httpx.Client) -> None:
    forged = {"X-Roles": "admin", "X-User-Id": "forged", "X_Project_Id": "forged", "X-Service-Catalog": "[]"}
    answer = alice.get("/v2.1/flavors", headers=forged)

    assert (answer.headers["X-Told-User"], answer.headers["X-Told-Project"]) == (ALICE.id, RED.id)
    assert "admin" not in answer.headers["X-Told-Roles"].split(",")
    assert answer.headers["X-Told-Catalog"] == "compute"


def test_novas_policy_decides_by_the_roles_of_the_token(alice: httpx.Client) -> None:
    assert alice.get("/v2.1/os-services").status_code == 403
    assert alice.get("/v2.1/os-services", headers={"X-Auth-Token": ADMIN.token}).status_code == 200


def test_a_keypair_is_made_read_and_deleted(alice: httpx.Client) -> None:
    made = alice.post("/v2.1/os-keypairs", json={"keypair": {"name": "one", "public_key": KEY}})
    listed = alice.get("/v2.1/os-keypairs").json()["keypairs"]
    deleted = alice.delete("/v2.1/os-keypairs/one")

    assert made.status_code in (200, 201), made.text
    assert [each["keypair"]["name"] for each in listed] == ["one"]
    assert deleted.status_code in (202, 204)


def test_absolute_limits_are_novas_own(alice: httpx.Client) -> None:
    answer = alice.get("/v2.1/limits")

    assert answer.status_code == 200
    assert answer.json()["limits"]["absolute"]["maxTotalInstances"] > 0


def test_the_legacy_api_has_the_same_identity(alice: httpx.Client) -> None:
    answer = alice.get(f"/v2/{RED.id}/flavors")

    assert (answer.status_code, answer.headers["X-Told-User"]) == (200, ALICE.id)


def test_an_answer_has_one_request_id(alice: httpx.Client) -> None:
    answer = alice.get("/v2.1/flavors")

    assert len(answer.headers.get_list("X-Compute-Request-Id")) == 1


def test_a_read_above_its_rate_is_refused_before_nova(alice: httpx.Client) -> None:
    path = f"/v2.1/{RED.id}/images/{RED_IMAGE.id}/metadata"
    answers = [alice.get(path) for _ in range(4)]

    assert answers[-1].status_code == 413
    assert list(answers[-1].json()) == ["overLimit"]
    assert "X-Told-User" not in answers[-1].headers
