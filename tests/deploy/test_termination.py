"""The end of a pod in the order that Kubernetes has, with real processes: no request is lost.

The kubelet runs preStop of every container, then sends SIGTERM to it and waits; the native sidecars follow
when the containers have ended. Meanwhile the endpoints are withdrawn, but kept connections remain.
"""

import http.client
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from metaproxy.demo.world import ALICE
from tests.deploy.test_kubernetes import pods
from tests.e2e.conftest import folder, identity
from tests.e2e.deployment import RED_API, Proxy
from tests.e2e.processes import ServerProcess, accepts, wait_until
from tests.ports import HeldPorts

__all__ = ["folder", "identity"]

pytestmark = pytest.mark.e2e


class Client:
    """Sends requests over connections that it keeps, and over new ones while ``in_service`` says so."""

    def __init__(self, port: int, in_service: threading.Event) -> None:
        self.statuses: list[int | str] = []
        self._port = port
        self._in_service = in_service
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Wait until the client has been told to leave and finds no endpoint any more."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while self._in_service.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
            try:
                self._over(connection)
            except (OSError, http.client.HTTPException) as error:
                self.statuses.append(repr(error))
            finally:
                connection.close()

    def _over(self, connection: http.client.HTTPConnection) -> None:
        """Ask until the server says that it closes the connection."""
        last = False
        while not last:
            connection.request("GET", f"{RED_API}/images/detail", headers={"X-Auth-Token": ALICE.token})
            answer = connection.getresponse()
            last = answer.headers.get("Connection", "").lower() == "close"
            answer.read()
            self.statuses.append(answer.status)


def terminate(
    pod: Mapping[str, Any], processes: Mapping[str, ServerProcess], withdraw: Callable[[], None]
) -> None:
    """End the containers of a pod as the kubelet does; ``withdraw`` stands for the sleep of preStop."""
    containers = [each["name"] for each in pod["containers"]]
    sidecars = [each["name"] for each in reversed(pod["initContainers"])]
    assert all("sleep" in each["lifecycle"]["preStop"]["exec"]["command"] for each in pod["containers"])
    withdraw()
    for name in containers:
        processes[name].terminate()
    for name in containers:
        assert processes[name].wait() == 0
    for name in sidecars:
        processes[name].terminate()
        processes[name].wait()


def test_a_pod_with_the_api_beside_metaproxy_ends_without_losing_a_request(
    tmp_path: Path, identity: str
) -> None:
    (pod,) = (pod for pod in pods() if "initContainers" in pod)
    with HeldPorts() as held:
        api = ServerProcess(["metaproxy.demo.compute", "--port", str(held.first)], tmp_path / "api.log")
        proxy = Proxy(tmp_path / "p", upstream=f"http://127.0.0.1:{held.first}", identity=identity)
        in_service = threading.Event()
        in_service.set()
        try:
            api.until(lambda: accepts(held.first))
            proxy.until_ready()
            clients = [Client(proxy.port, in_service) for _ in range(4)]
            wait_until(lambda: all(len(each.statuses) > 10 for each in clients), what="requests")

            terminate(pod, {"metaproxy": proxy.server, "nova-api": api}, in_service.clear)
            for client in clients:
                client.join()
        finally:
            in_service.clear()
            proxy.server.stop()
            api.stop()

    assert {status for client in clients for status in client.statuses} == {200}
