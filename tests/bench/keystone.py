"""The demo's Keystone with a thousand users more: ``python -m tests.bench.keystone PORT``."""

import sys

from metaproxy.clock import wall
from metaproxy.demo.identity import IdentityApi
from metaproxy.demo.process import run_service
from metaproxy.demo.service import Service
from metaproxy.demo.tokens import TokenTable
from metaproxy.demo.world import PEOPLE, Person, Project
from tests.bench.population import CALLERS, caller


def people() -> list[Person]:
    """Return everybody whose token is known: the callers, and those of the demo."""
    callers = [
        Person(
            name=f"user-{number}",
            id=f"user-{number}",
            project=Project(caller(number).project, f"project-{number}"),
            roles=("member", "reader"),
            password="",
            token=caller(number).token,
        )
        for number in range(CALLERS)
    ]
    return [*PEOPLE, *callers]


if __name__ == "__main__":
    run_service(Service(IdentityApi(TokenTable(people(), wall=wall))), int(sys.argv[1]))
