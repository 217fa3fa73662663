"""Random clients: reads, writes, refusals, hostile bytes, clients that leave; every answer is judged."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping

from metaproxy.demo.world import ALICE, RED_OTHER_IMAGE
from tests.e2e.deployment import METADATA, RED_API
from tests.e2e.hostile import SECTIONS, Seen

PATIENCE_SECONDS = 30.0
TROUBLE = {500, 502, 503, 504}
"""What a client may be told while something behind the proxy fails; 500 is the upstream's own."""
QUIET = f"{RED_API}/images/{RED_OTHER_IMAGE.id}/metadata"
NO_ANSWER = "no answer"
NAMES = 2000
"""Metadata keys that are asked for. What the proxy remembers of paths is bounded by thousands of them: here
all are asked for before the start is measured, so that what grows after it is no such memory."""

TOO_MUCH = b"a" * 3 * 1024 * 1024
HOSTILE = [case for cases in SECTIONS.values() for case in cases if not case.stays_open]


class Clients:
    """Keeps count of answers in ``answers`` and of what nothing explains in ``unexplained``."""

    def __init__(self, port: int, *, chance: random.Random) -> None:
        self.answers: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.stopped = False
        self.troubled = False
        """Whether something behind the proxy may fail."""
        self._port = port
        self._chance = chance

    async def run(self) -> None:
        """Send one request after another until ``stopped``."""
        kinds: Mapping[Callable[[], object], int] = {
            self._read: 20,
            self._read_of_a_quiet_image: 40,
            self._write: 5,
            self._list: 10,
            self._unknown_token: 5,
            self._hostile: 10,
            self._leave: 10,
            self._pipeline: 5,
            self._upload: 2,
        }
        while not self.stopped:
            [kind] = self._chance.choices(list(kinds), list(kinds.values()))
            await kind()  # type: ignore[misc] # every kind is a coroutine function

    async def read_every_name(self) -> None:
        """Ask once for every key there may be."""
        for name in range(NAMES):
            await self._ask("first read", f"GET {QUIET}/label-{name} HTTP/1.1", {404})

    async def _read(self) -> None:
        self._check(await self._ask("read", f"GET {METADATA}/label HTTP/1.1", {200, 404}))

    async def _read_of_a_quiet_image(self) -> None:
        """Of one that nobody writes to: writes keep the answers about the other out of memory."""
        self._check(await self._ask("quiet read", f"GET {QUIET} HTTP/1.1", {200}))

    def _check(self, body: bytes) -> None:
        if body and json.loads(body).keys().isdisjoint({"meta", "metadata"}):
            self.unexplained.append(f"read: {body[:200]!r}")

    async def _write(self) -> None:
        value = json.dumps({"meta": {"label": str(self._chance.random())}}).encode()
        fields = (b"Content-Type: application/json", b"Content-Length: %d" % len(value))
        await self._ask("write", f"PUT {METADATA}/label HTTP/1.1", {200}, *fields, body=value)

    async def _list(self) -> None:
        await self._ask("list", f"GET {RED_API}/images/detail HTTP/1.1", {200, 404})

    async def _unknown_token(self) -> None:
        token = b"unknown-%d" % self._chance.randrange(100_000)
        await self._ask("unknown token", f"GET {METADATA} HTTP/1.1", {401}, token=token)

    async def _ask(
        self, kind: str, line: str, expected: set[int], *fields: bytes, body: bytes = b"", token: bytes = b""
    ) -> bytes:
        lines = (
            line.encode(),
            b"Host: soak.example",
            b"Connection: close",
            b"X-Auth-Token: " + (token or ALICE.token.encode()),
        )
        answer = await self._exchange(b"\r\n".join((*lines, *fields, b"", b"")) + body)
        return self._judge(kind, answer, expected)

    def _judge(self, kind: str, answer: bytes, expected: set[int]) -> bytes:
        """Count an answer; return its body if it is whole and a success."""
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head[9:12] or b"0")
        whole = bool(status) and _is_whole(head, body)
        told = str(status) if whole else "broken off" if status else NO_ANSWER
        self.answers[f"{kind}: {told}"] += 1
        explained = expected | (TROUBLE if self.troubled else set())
        # A broken upstream breaks an answer off that has begun; every request gets the beginning of one.
        if status not in explained or not (whole or self.troubled):
            self.unexplained.append(f"{kind}: {told}: {head!r}")
        return body if whole and status == 200 else b""

    async def _hostile(self) -> None:
        case = self._chance.choice(HOSTILE)
        answer = await self._exchange(case.sent)
        status = int(answer[9:12] or b"0")
        self.answers[f"hostile: {status or NO_ANSWER}"] += 1
        explained = {case.status}
        if self.troubled and (case.seen is not Seen.NOTHING or case.status == 413):
            explained |= TROUBLE
        if case.status == 200:
            explained.add(404)  # the demo has no servers
        if status not in explained:
            self.unexplained.append(f"{case}: {answer[:200]!r}")

    async def _pipeline(self) -> None:
        """Three requests at once: three answers, in order."""
        line = f"GET {METADATA}/label HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {ALICE.token}\r\n".encode()
        answers = await self._exchange((line + b"\r\n") * 2 + line + b"Connection: close\r\n\r\n")
        found = [b"HTTP/1.1 " + answer for answer in answers.split(b"HTTP/1.1 ")[1:]]
        for answer in found:
            self._judge("pipelined", answer, {200, 404})
        if len(found) != 3 and not self.troubled:
            self.unexplained.append(f"pipelined: {len(found)} answers")

    async def _upload(self) -> None:
        """More than a request may have, all of it sent before anything is read."""
        fields = (b"Content-Type: application/json", b"Content-Length: %d" % len(TOO_MUCH))
        await self._ask("upload", f"POST {METADATA} HTTP/1.1", {413}, *fields, body=TOO_MUCH)

    async def _leave(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        request = f"GET {QUIET}/label-{self._chance.randrange(NAMES)} HTTP/1.1\r\nHost: a\r\n"
        writer.write(f"{request}X-Auth-Token: {ALICE.token}\r\n\r\n".encode()[: self._chance.randrange(400)])
        await asyncio.sleep(self._chance.random() / 50)
        writer.transport.abort()
        self.answers["left"] += 1

    async def _exchange(self, sent: bytes) -> bytes:
        """Send bytes and return all that comes until the end."""
        answer = b""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(sent)
                while data := await reader.read(65536):
                    answer += data
                writer.close()
        except TimeoutError:
            self.unexplained.append(f"no end within {PATIENCE_SECONDS} s: {sent[:100]!r}")
        except OSError:
            pass  # cut off: what came so far is judged
        return answer


def _is_whole(head: bytes, body: bytes) -> bool:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"content-length" in fields:
        return len(body) == int(fields[b"content-length"])
    return body.endswith(b"0\r\n\r\n")
