"""A small compute API that answers image metadata the way Nova does, for the demo and for tests.

It stands behind the proxy and believes the identity headers that the proxy sets; a request without
``X-Identity-Status: Confirmed`` is a 401. It says on which headers its answers depend (two Vary
fields), gives every answer a request id, and from microversion 2.39 on has no image metadata at all.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from metaproxy.demo import representations
from metaproxy.demo.images import Caller, ImageError, ImageStore
from metaproxy.demo.operations import Call, operation_table
from metaproxy.demo.process import run_service, service_arguments
from metaproxy.demo.representations import Document
from metaproxy.demo.service import Answer, HeaderPairs, Request, Service, json_answer
from metaproxy.demo.world import IMAGES
from metaproxy.protocol.faults import NAMES, prefers_xml

MAX_BODY_BYTES: Final = 114688
FAULT_TYPE: Final = "application/json; charset=UTF-8"
LAST_WITH_IMAGE_METADATA: Final = (2, 38)
LATEST: Final = (2, 96)


class ComputeApi:
    """Answers requests from the images in ``images``."""

    def __init__(self, images: ImageStore | None = None) -> None:
        self._images = images or ImageStore(IMAGES)
        self._operations = operation_table()

    def __call__(self, request: Request) -> Answer:
        """Answer ``request``."""
        try:
            version = microversion(request.headers)
            answer = self._answer(request, version)
        except ImageError as error:
            version, answer = (2, 1), fault(error.status, str(error))
        return Answer(
            answer.status, answer.body, answer.content_type, (*answer.headers, *common_headers(version))
        )

    def _answer(self, request: Request, version: tuple[int, int]) -> Answer:
        path = request.path
        if path == "/":
            return Answer(200, representations.versions().json)
        if path in ("/v2.1", "/v2.1/"):
            return Answer(200, representations.version().json)
        if request.headers.get("x-identity-status") != "Confirmed":
            return unauthorized()
        return self._operate(request, version)

    def _operate(self, request: Request, version: tuple[int, int]) -> Answer:
        path, is_xml = _representation(request)
        match = self._operations.match(path)
        if match is None:
            return json_answer(404, {"message": "Not found.", "code": "404 Not Found", "title": "Not Found"})
        operation = match.value.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            return Answer(404, "<html><body><h1>404 Not Found</h1></body></html>", "text/html; charset=UTF-8")
        if "image_id" in match.captures and version > LAST_WITH_IMAGE_METADATA:
            raise ImageError(404, "The resource could not be found.")
        if len(request.body) > MAX_BODY_BYTES:
            raise ImageError(413, "Request is too large.")
        caller = _caller(request, match.captures.get("tenant_id"))
        document = operation(Call(self._images, caller, match.captures, request.body))
        return _shown(document, is_xml=is_xml)


def microversion(headers: Mapping[str, str]) -> tuple[int, int]:
    """Return the microversion that a request asks for; raises ImageError (400, 406)."""
    asked = headers.get("openstack-api-version", "").removeprefix("compute").strip()
    asked = asked or headers.get("x-openstack-nova-api-version", "") or "2.1"
    if asked == "latest":
        return LATEST
    major, _, minor = asked.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise ImageError(400, f"API Version String {asked} is of invalid format.")
    version = int(major), int(minor)
    if not (2, 1) <= version <= LATEST:
        raise ImageError(406, f"Version {asked} is not supported by the API.")
    return version


def common_headers(version: tuple[int, int]) -> HeaderPairs:
    """Return the header fields that every answer has; the two request ids are the same one."""
    request_id = f"req-{uuid.uuid4()}"
    number = f"{version[0]}.{version[1]}"
    return (
        ("OpenStack-API-Version", f"compute {number}"),
        ("X-OpenStack-Nova-API-Version", number),
        ("Vary", "OpenStack-API-Version"),
        ("Vary", "X-OpenStack-Nova-API-Version"),
        ("x-openstack-request-id", request_id),
        ("x-compute-request-id", request_id),
        ("Server", "metaproxy-demo"),
    )


def fault(status: int, message: str) -> Answer:
    """Return a fault in the API's words."""
    body = json_answer(status, {NAMES.get(status, "computeFault"): {"code": status, "message": message}}).body
    return Answer(status, body, FAULT_TYPE)


def unauthorized() -> Answer:
    """Return what a request gets that nobody has vouched for."""
    message = "The request you have made requires authentication."
    error = {"code": 401, "title": "Unauthorized", "message": message}
    return json_answer(401, {"error": error}, (("WWW-Authenticate", 'Keystone uri="http://identity/v3"'),))


def _representation(request: Request) -> tuple[str, bool]:
    is_xml = prefers_xml(request.path, request.headers.get("accept", "").encode())
    return request.path.removesuffix(".xml").removesuffix(".json"), is_xml


def _caller(request: Request, tenant_id: str | None) -> Caller:
    project_id = request.headers.get("x-project-id", "")
    roles = {role.strip() for role in request.headers.get("x-roles", "").split(",")}
    caller = Caller(project_id, is_admin="admin" in roles)
    if tenant_id is not None and tenant_id != project_id and not caller.is_admin:
        raise ImageError(400, "Malformed request URL: its project_id is not the context's.")
    return caller


def _shown(document: Document | None, *, is_xml: bool) -> Answer:
    if document is None:
        return Answer(204)
    if is_xml:
        return Answer(200, document.xml, "application/xml")
    return Answer(200, document.json)


if __name__ == "__main__":
    arguments = service_arguments("the demo's compute API").parse_args()
    run_service(Service(ComputeApi()), arguments.port, arguments.host)
