"""A small Keystone v3 for the demo and for tests: logins, validation, revocation, a catalog.

A token may validate itself; the tokens of others are shown to the roles ``service`` and ``admin``.
"""

import json
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from metaproxy.clock import wall
from metaproxy.demo import world
from metaproxy.demo.process import run_service, service_arguments
from metaproxy.demo.service import Answer, HeaderPairs, Request, Service, json_answer
from metaproxy.demo.tokens import Token, TokenTable
from metaproxy.demo.world import Person

VALIDATING_ROLES: Final = frozenset({"service", "admin"})
DOMAIN: Final = {"id": world.DOMAIN_ID, "name": world.DOMAIN_NAME}


class IdentityApi:
    """Answers requests from ``tokens``; ``compute_url`` goes into the catalog."""

    def __init__(
        self, tokens: TokenTable | None = None, *, compute_url: str = "http://127.0.0.1:8774/v2.1"
    ) -> None:
        self._tokens = tokens or TokenTable(world.PEOPLE, wall=wall)
        self._compute_url = compute_url

    def __call__(self, request: Request) -> Answer:
        """Answer ``request``."""
        answer = self._answer(request)
        headers = (
            *answer.headers,
            ("Vary", "X-Auth-Token"),
            ("x-openstack-request-id", f"req-{uuid.uuid4()}"),
        )
        return Answer(answer.status, answer.body, answer.content_type, headers)

    def _answer(self, request: Request) -> Answer:
        match request.method, request.path.rstrip("/"):
            case "GET", "":
                return json_answer(300, {"versions": {"values": [_version()]}})
            case "GET", "/v3":
                return json_answer(200, {"version": _version()})
            case "POST", "/v3/auth/tokens":
                return self._log_in(request)
            case (("GET" | "HEAD" | "DELETE"), "/v3/auth/tokens"):
                return self._about_token(request)
        return error(404, "The resource could not be found.")

    def _log_in(self, request: Request) -> Answer:
        try:
            auth: dict[str, Any] = json.loads(request.body)["auth"]
            method: str = auth["identity"]["methods"][0]
            person = _authenticated(method, auth["identity"][method])
        except (ValueError, LookupError, TypeError):
            return error(400, "The request body is no login that this service knows.")
        if person is None or not _in_scope(person, auth.get("scope")):
            return unauthorized()
        token = self._tokens.issue(person, method)
        return json_answer(201, self._document(token, catalog=True), (("X-Subject-Token", token.text),))

    def _about_token(self, request: Request) -> Answer:
        asking = self._tokens.find(request.headers.get("x-auth-token", ""))
        if asking is None:
            return unauthorized()
        query = parse_qs(request.query, keep_blank_values=True)
        subject_token = request.headers.get("x-subject-token", "")
        subject = self._tokens.find(subject_token, allow_expired=query.get("allow_expired") == ["1"])
        if subject is None:
            return error(404, "Could not find token.")
        if subject is not asking and VALIDATING_ROLES.isdisjoint(asking.person.roles):
            return error(403, "You are not authorized to perform the requested action.")
        if request.method == "DELETE":
            self._tokens.revoke(subject.text)
            return Answer(204)
        document = self._document(subject, catalog="nocatalog" not in query)
        return json_answer(200, document, (("X-Subject-Token", subject.text),))

    def _document(self, token: Token, *, catalog: bool) -> dict[str, object]:
        person, project = token.person, token.person.project
        body: dict[str, object] = {
            "methods": [token.method],
            "user": {"id": person.id, "name": person.name, "domain": DOMAIN, "password_expires_at": None},
            "project": {"id": project.id, "name": project.name, "domain": DOMAIN},
            "is_domain": False,
            "roles": [
                {"id": uuid.uuid5(uuid.NAMESPACE_URL, role).hex, "name": role} for role in person.roles
            ],
            "audit_ids": [token.audit_id],
            "issued_at": _timestamp(token.issued_at),
            "expires_at": _timestamp(token.expires_at),
        }
        if catalog:
            body["catalog"] = [_compute_service(self._compute_url)]
        return {"token": body}


def error(status: int, message: str, headers: HeaderPairs = ()) -> Answer:
    """Return an error in Keystone's words."""
    body = {"code": status, "message": message, "title": HTTPStatus(status).phrase}
    return json_answer(status, {"error": body}, headers)


def unauthorized() -> Answer:
    """Return what a bad login and a bad token get."""
    message = "The request you have made requires authentication."
    return error(401, message, (("WWW-Authenticate", 'Keystone uri="http://127.0.0.1/v3"'),))


def _authenticated(method: str, proof: dict[str, Any]) -> Person | None:
    if method == "application_credential":
        known = (world.APPLICATION_CREDENTIAL_ID, world.APPLICATION_CREDENTIAL_SECRET)
        return world.METAPROXY if (proof["id"], proof["secret"]) == known else None
    user = proof["user"]
    for person in world.PEOPLE:
        if user.get("name") == person.name or user.get("id") == person.id:
            return person if user["password"] == person.password else None
    return None


def _in_scope(person: Person, scope: dict[str, Any] | None) -> bool:
    """Say whether a login may have the scope that it asks for; none is the person's own project."""
    if scope is None:
        return True
    asked: dict[str, str] = scope.get("project", {})
    return person.project.id == asked.get("id") or person.project.name == asked.get("name")


def _compute_service(url: str) -> dict[str, object]:
    endpoint = {
        "id": "compute-public",
        "interface": "public",
        "region": "RegionOne",
        "region_id": "RegionOne",
    }
    return {"id": "compute", "type": "compute", "name": "nova", "endpoints": [{**endpoint, "url": url}]}


def _version() -> dict[str, object]:
    return {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "/v3/"}]}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = service_arguments("the demo's identity service")
    parser.add_argument("--compute-url", default="http://127.0.0.1:8774/v2.1", help="goes into the catalog")
    arguments = parser.parse_args()
    run_service(Service(IdentityApi(compute_url=arguments.compute_url)), arguments.port, arguments.host)


if __name__ == "__main__":
    main()
