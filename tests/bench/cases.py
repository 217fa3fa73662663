"""What is measured: each case names its requests, what every answer must be, and who takes part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import population, transfers
from tests.bench.load import Load
from tests.bench.population import COUNTER, ETAG, Request
from tests.bench.probe import Expectation
from tests.bench.rounds import Contestant, Measured, alternate, wrk_contestant
from tests.bench.servers import Setup, Stand
from tests.bench.settings import Feature
from tests.bench.transfers import Transfer

SERVERS = ("direct", "uvicorn", "nginx", "metaproxy")
PROXIES = ("nginx", "metaproxy")
WITH_UVICORN = ("nginx", "uvicorn", "metaproxy")
WITH_DIRECT = ("direct", "nginx", "metaproxy")

HIT = Expectation(cache="hit")


@dataclass(frozen=True, slots=True)
class Scale:
    """How long, how large, and who: ``servers`` are those that take part where a case has them."""

    seconds: int
    rounds: int
    connections: int = 32
    tokens: int = 1000
    keys_per_token: int = 10
    growth: tuple[int, ...] = (1, 10, 100, 1000)
    entries: int = 100_000
    servers: tuple[str, ...] = SERVERS


QUICK = Scale(seconds=1, rounds=1, tokens=50, growth=(1, 1000), entries=5_000)


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. With ``transfer`` one connection moves large bodies; else wrk sends ``requests``.

    ``connections`` is None where the scale says how many. ``primed`` says whether every request is sent
    once before.
    """

    name: str
    title: str
    servers: tuple[str, ...] = PROXIES
    requests: Callable[[Scale], list[Request]] = field(default=lambda _: [population.read()])
    expectation: Expectation = HIT
    connections: int | None = None
    access_log: bool = True
    primed: bool = True
    transfer: Transfer | None = None

    def heading(self, scale: Scale) -> str:
        """Return the title for tables, with the numbers of ``scale``."""
        return self.title.format(tokens=scale.tokens, entries=scale.tokens * scale.keys_per_token)

    @property
    def unit(self) -> str:
        """What the rates of this case count."""
        return "requests/s" if self.transfer is None else "MiB/s"


def _many(scale: Scale) -> list[Request]:
    return [
        population.read(number, f"key-{key}")
        for key in range(scale.keys_per_token)
        for number in range(scale.tokens)
    ]


_ALL = (
    Case("hit", "hit", WITH_UVICORN),
    Case("hit-many", "hit, {entries} entries of {tokens} tokens", requests=_many),
    Case("hit-1", "hit, 1 connection", WITH_UVICORN, connections=1),
    Case("hit-512", "hit, 512 connections", WITH_UVICORN, connections=512),
    Case("hit-no-log", "hit, no access log", access_log=False),
    Case(
        "not-modified",
        "304 to If-None-Match",
        requests=lambda _: [population.read(headers={"If-None-Match": ETAG})],
        expectation=Expectation(status=304, body=b"", cache="hit"),
    ),
    Case(
        "over-limit",
        "refusal, over the limit",
        requests=lambda _: [population.image_list()],
        expectation=Expectation(status=429, body=None),
    ),
    Case(
        "unknown-token",
        "refusal, unknown token",
        requests=lambda _: [population.stranger_read()],
        expectation=Expectation(status=401, body=None),
    ),
    Case(
        "miss",
        "passed on, the same read again",
        WITH_DIRECT,
        requests=lambda _: [population.poll()],
        expectation=Expectation(asks_upstream=True),
    ),
    Case(
        "miss-new",
        "passed on, another path each time",
        WITH_DIRECT,
        requests=lambda _: [population.server_read()],
        expectation=Expectation(asks_upstream=True),
        primed=False,
    ),
    Case(
        "miss-stored",
        "miss, stored",
        WITH_DIRECT,
        requests=lambda _: [population.read(key=f"fresh-{COUNTER}")],
        expectation=Expectation(asks_upstream=True),
        primed=False,
    ),
    Case("upload", "64 MiB upload", WITH_DIRECT, transfer=transfers.upload),
    Case("download", "64 MiB download", WITH_DIRECT, transfer=transfers.download),
)

CASES = {case.name: case for case in _ALL}


def measure(case: Case, stand: Stand, scale: Scale, folder: Path) -> dict[str, Measured]:
    """Measure ``case`` with the servers of ``stand``; ``folder`` is for scratch files."""
    contestants = [
        contestant(name, case, stand, scale, folder) for name in case.servers if name in scale.servers
    ]
    return alternate(contestants, scale.rounds, scale.seconds)


def contestant(
    name: str,
    case: Case,
    stand: Stand,
    scale: Scale,
    folder: Path,
    *,
    label: str = "",
    feature: Feature | None = None,
) -> Contestant:
    """Return the server ``name``, with ``feature``, and with what it has to do in ``case``."""
    server = stand.server(name, Setup(access_log=case.access_log, feature=feature))
    if case.transfer is not None:
        return transfers.transfer_contestant(name, server, case.transfer)
    expectation = case.expectation
    if name == "direct":
        expectation = Expectation(asks_upstream=True)
    load = Load(case.requests(scale), case.connections or scale.connections, folder)
    return wrk_contestant(label or name, server, load, expectation, stand=stand, primed=case.primed)
