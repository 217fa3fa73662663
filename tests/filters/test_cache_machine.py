"""The cache stage against a perfect oracle: whatever happens, in whatever order, the answer was allowed.

The machine drives the whole stage as a generic shared cache. The oracle knows every version that the
origin ever had, when it was current and what the origin said of it; it says for each answer whether
RFC 9111 allows it, from the standard's text and nothing of ours.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from metaproxy.cache.settings import CacheRoute
from tests.asgi_driver import Answer
from tests.filters.caching import Time, make_cache, request

TTL, STALE_WHILE_REVALIDATE, STALE_IF_ERROR = 20.0, 5.0, 40.0

PATHS = ("/a",)
LANGUAGES = ("de", "fr")


@dataclass
class Version:
    """What a resource was, from one write to the next."""

    serial: int
    said: str
    vary: bool
    with_etag: bool
    confirmed_at: dict[str, float] = field(default_factory=dict)
    """When the origin last answered it, or confirmed it, by language."""


class ModelOrigin:
    """Holds a version per path, answers validation, and may be down."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.down = False
        self.serial = 0
        self.history: dict[str, list[Version]] = {path: [] for path in PATHS}
        self.asked = 0

    def change(self, path: str, said: str = "", *, vary: bool = False, with_etag: bool = False) -> None:
        self.serial += 1
        self.history[path].append(Version(self.serial, said, vary, with_etag))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        fields = dict(scope["headers"])
        version = self.history[scope["path"]][-1]
        if self.down:
            await self.send(send, 503, [], b"down")
            return
        if scope["method"] != "GET":
            self.change(scope["path"], version.said, vary=version.vary, with_etag=version.with_etag)
            await self.send(send, 204, [], b"")
            return
        language = fields.get(b"accept-language", b"").decode()
        version.confirmed_at[language] = self.time.seconds
        etag = b'"%d-%b"' % (version.serial, language.encode() if version.vary else b"")
        answer = [(b"cache-control", version.said.encode())] if version.said else []
        answer += [(b"vary", b"accept-language")] if version.vary else []
        answer += [(b"etag", etag)] if version.with_etag else []
        if version.with_etag and fields.get(b"if-none-match") == etag:
            await self.send(send, 304, answer, b"")
        else:
            await self.send(send, 200, answer, b"%d %b" % (version.serial, language.encode()))

    async def send(self, send: Any, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})


SAID = [
    "",
    "max-age=10",
    "max-age=0",
    "no-store",
    "private",
    "no-cache",
    "max-age=10, must-revalidate",
    "s-maxage=10",
]
NEVER_WITHOUT_ASKING = {"no-store", "private", "no-cache"}
NEVER_STALE = {"max-age=10, must-revalidate", "s-maxage=10"}


class CacheMachine(RuleBasedStateMachine):
    """Reads, writes, waits, failures and changes behind the cache's back, in any order."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.time = Time()
        self.origin = ModelOrigin(self.time)
        for path in PATHS:
            self.origin.change(path)
        route = CacheRoute(
            path="/**",
            ttl=TTL,
            stale_while_revalidate=STALE_WHILE_REVALIDATE,
            stale_if_error=STALE_IF_ERROR,
        )
        self.cache = make_cache(self.origin, self.time, routes=[route], scope="shared", max_bytes=64 * 1024)
        self.written_at: dict[str, int] = dict.fromkeys(PATHS, 0)

    def run(self, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
        async def whole() -> Answer:
            answer = await request(self.cache, path, *headers, method=method)
            for _ in range(10):
                await asyncio.sleep(0)
            return answer

        return self.loop.run_until_complete(whole())

    @rule(
        path=st.sampled_from(PATHS), said=st.sampled_from(SAID), vary=st.booleans(), with_etag=st.booleans()
    )
    def change_behind(self, path: str, said: str, vary: bool, with_etag: bool) -> None:
        self.origin.change(path, said, vary=vary, with_etag=with_etag)

    @rule(down=st.sampled_from([False, False, True]))
    def fail(self, down: bool) -> None:
        self.origin.down = down

    @rule(path=st.sampled_from(PATHS), method=st.sampled_from(["PUT", "POST", "DELETE"]))
    def write(self, path: str, method: str) -> None:
        self.run(path, method=method)
        self.written_at[path] = self.origin.history[path][-1].serial

    @rule(
        path=st.sampled_from(PATHS),
        language=st.sampled_from(LANGUAGES),
        asked=st.sampled_from(
            ["", "", "", "", "no-cache", "max-age=3", "max-stale=2", "min-fresh=5", "only-if-cached"]
        ),
        after=st.sampled_from([0.0, 0.0, 2.0, 9.0, 12.0, 18.0]),
    )
    def read(self, path: str, language: str, asked: str, after: float) -> None:
        self.time.seconds += after
        before = self.origin.asked
        confirmed = {version.serial: dict(version.confirmed_at) for version in self.origin.history[path]}
        headers = [("accept-language", language)] + ([("cache-control", asked)] if asked else [])
        answer = self.run(path, *headers)
        if answer.status == 200:
            self.check(
                path,
                language,
                asked,
                answer,
                confirmed,
                from_memory="; hit" in str(answer.header("cache-status")),
            )
        elif answer.status == 504:
            assert asked == "only-if-cached"
            assert self.origin.asked == before
        else:
            assert answer.status == 503
            assert self.origin.down

    def check(
        self,
        path: str,
        language: str,
        asked: str,
        answer: Answer,
        confirmed: dict[int, dict[str, float]],
        *,
        from_memory: bool,
    ) -> None:
        serial, _, told_language = answer.body.decode().partition(" ")
        version = next(found for found in self.origin.history[path] if found.serial == int(serial))
        assert version.serial >= self.written_at[path], "older than a write through the cache"
        if version.vary:
            assert told_language == language, "a variant for somebody else"
        outcome = answer.exchange.outcome
        if not from_memory and outcome in ("forwarded", "revalidated") and not self.origin.down:
            assert version is self.origin.history[path][-1], "the origin was asked and is not told"
            return
        assert version.said not in {"no-store", "private"}, "kept what must not be kept"
        assert version.said != "no-cache", "not asked about what must be asked about"
        age = self.time.seconds - max(confirmed[version.serial].values())
        self.check_age(version, asked, age, outcome)

    def check_age(self, version: Version, asked: str, age: float, outcome: str) -> None:
        lifetime = {"": TTL, "max-age=0": 0.0}.get(version.said, 10.0)
        assert asked != "no-cache", "the client wanted the origin"
        if asked == "max-age=3":
            assert age <= 3, "older than the client allows"
        if asked == "min-fresh=5":
            assert age + 5 <= lifetime or self.origin.down, "not fresh for long enough"
        if age < lifetime:
            return
        assert version.said not in NEVER_STALE, "stale against the origin's word"
        allowed = max(STALE_WHILE_REVALIDATE, 2.0 if asked == "max-stale=2" else 0.0)
        if self.origin.down:
            allowed = max(allowed, STALE_IF_ERROR)
        assert age - lifetime <= allowed, "stale beyond what anybody allows"
        assert outcome == "stale"

    @invariant()
    def memory_is_bounded(self) -> None:
        statistics = self.cache.inventory.statistics()
        assert statistics.bytes <= statistics.max_bytes
        assert statistics.flights == 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.cache.close())
        self.loop.close()


CacheMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestCacheAgainstTheOracle = CacheMachine.TestCase
