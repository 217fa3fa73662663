"""How much memory known tokens, counters and connections take: ``python -m tests.bench.sizing``.

Starts metaproxy with one rate per project, and sends it requests of distinct tokens and projects, the last
ones again, and then opens idle connections. Prints the resident memory of the process after each step, and
what a token took with its counter from the first step on: before it, what is there once for all is made.
``--write`` puts this in the place of the table in config/SIZING.md.
"""

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import machine
from tests.ports import HeldPorts

CONNECTIONS = 32
ATTEMPTS = 60
SIZING = Path(__file__).resolve().parents[2] / "config" / "SIZING.md"
BEGIN, END = "<!-- tests.bench.sizing -->\n", "<!-- its end -->\n"
MIB = 2**20

Step = tuple[str, int]
"""What has been done, and the resident memory in bytes after it."""

EXPIRES = "2099-01-01T00:00:00.000000Z"
ANSWER = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b"
CONFIG = """\
server: {{listen: "127.0.0.1:{port}"}}
admin: {{listen: []}}
upstream: {{targets: ["http://127.0.0.1:{services}"]}}
identity:
  provider: keystone-v3
  url: http://127.0.0.1:{services}/v3
  login: {{username: metaproxy, password: secret, user_domain_name: Default, system_scope: true}}
  timeout: 60s
  cache: {{ttl: 12h, max_bytes: {max_bytes}}}
limits:
  rates: [{{name: all, per: [project], rate: 1000/minute}}]
logging: {{access: false}}
"""


def token_of(number: int) -> str:
    """Return a token as long as a Fernet token of Keystone."""
    return f"gAAAAABn{number:08d}" + "x" * 167


def project_of(number: int) -> str:
    """Return the project of a token: each has one of its own."""
    return f"{number:08d}4d4c1fa6d2b8e17c905d347a"


def description(token: str) -> bytes:
    """Return Keystone's description of ``token``: each has a user and a project of its own."""
    number = token[8:16]
    domain = {"id": "default", "name": "Default"}
    described = {
        "expires_at": EXPIRES,
        "user": {"id": f"{number}0f3c9a5be47d4c1fa6d2b8e1", "name": f"user-{number}", "domain": domain},
        "project": {"id": project_of(int(number)), "name": f"project-{number}", "domain": domain},
        "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "reader"}],
        "audit_ids": [f"{number}VcWR6mQ5OnTl"],
    }
    return json.dumps({"token": described}).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as Keystone under /v3, and as a compute API elsewhere."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(fields.get("content-length", 0)))
            if head.startswith("POST"):
                body, status, more = description(token_of(0)), b"201 Created", b"x-subject-token: admin\r\n"
            elif "/v3/" in head.partition("\r\n")[0]:
                token = next(
                    line.split(": ", 1)[1]
                    for line in head.split("\r\n")
                    if line.lower().startswith("x-subject-token:")
                )
                body, status, more = description(token), b"200 OK", b""
            else:
                body, status, more = b'{"servers": []}', b"200 OK", b""
            writer.write(ANSWER % (status, len(body), more, body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def ask(port: int, numbers: list[int]) -> None:
    """Send one request with each of the tokens, on one connection, again where identity was too slow."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        request = (
            f"GET /v2.1/{project_of(number)}/servers HTTP/1.1\r\nHost: api\r\n"
            f"X-Auth-Token: {token_of(number)}\r\n"
            "Accept: application/json\r\nUser-Agent: openstacksdk/4.5.0\r\n\r\n"
        )
        for left in range(ATTEMPTS, 0, -1):
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            if head.startswith(b"HTTP/1.1 200"):
                break
            if left == 1 or not head.startswith((b"HTTP/1.1 503", b"HTTP/1.1 504")):
                raise machine.BenchError(head.decode("latin-1"))
            await asyncio.sleep(1)
    writer.close()


async def measure(tokens: int, step: int, connections: int, max_bytes: str) -> list[Step]:
    """Return the memory after each ``step`` of ``tokens``, and with ``connections`` that are idle."""
    services = await asyncio.start_server(serve, "127.0.0.1", 0)
    behind = services.sockets[0].getsockname()[1]
    held = HeldPorts()
    port = held.first
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metaproxy.yaml")
        path.write_text(CONFIG.format(port=port, services=behind, max_bytes=max_bytes))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "metaproxy",
            "serve",
            "--config",
            str(path),
            stderr=asyncio.subprocess.DEVNULL,
        )

        def note(when: str) -> None:
            steps.append((when, machine.resident_bytes(process.pid)))
            print(f"{steps[-1][1] / MIB:7.1f} MiB  {when}", flush=True)

        try:
            await _until_listening(port)
            note("the start")
            numbers: list[int] = []
            for first in range(0, tokens, step):
                numbers = list(range(first, min(first + step, tokens)))
                await _ask_all(port, numbers)
                note(f"{_spaced(numbers[-1] + 1)} tokens")
            for _ in range(2):
                await _ask_all(port, numbers)
            note(f"the last {_spaced(len(numbers))} twice again")
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
            await _ask_all(port, numbers[:CONNECTIONS])
            note(f"{_spaced(len(idle))} idle connections")
        finally:
            process.terminate()
            await process.wait()
    return steps


def per_token(steps: Sequence[Step]) -> float:
    """Return the bytes that a token takes with its counter, from the first step with tokens to the last."""
    told = [(when, size) for when, size in steps if when.endswith(" tokens")]
    (first, before), (last, after) = told[0], told[-1]
    number = _number(last) - _number(first)
    if number <= 0:
        raise machine.BenchError("two steps are needed to tell what a token takes")
    return (after - before) / number


def table(steps: Sequence[Step], command: str) -> str:
    """Return what config/SIZING.md says of ``steps``, which ``command`` has measured."""
    rows = "".join(f"| {when} | {size / MIB:.0f} MiB |\n" for when, size in steps)
    told = [when for when, _ in steps if when.endswith(" tokens")]
    return (
        f"    {command}\n\n"
        f"Python {platform.python_version()}, {platform.system()}, {platform.machine()}:\n\n"
        f"| after | resident memory |\n|---|---:|\n{rows}\n"
        f"From {told[0]} to {told[-1]}, a token with its counter takes {per_token(steps) / 1024:.1f} KiB.\n"
    )


def write(text: str) -> None:
    """Put ``text`` in the place of what was measured before."""
    before, _, rest = SIZING.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    SIZING.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _number(when: str) -> int:
    return int(when.removesuffix(" tokens").replace(" ", ""))


async def _ask_all(port: int, numbers: list[int]) -> None:
    await asyncio.gather(*(ask(port, numbers[lane::CONNECTIONS]) for lane in range(CONNECTIONS)))


async def _until_listening(port: int) -> None:
    for _ in range(3000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise machine.BenchError("metaproxy does not listen")


def main() -> None:
    """Measure, and write what was measured if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--step", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--max-bytes", default="1GiB", help="of the token cache; 1GiB holds all tokens")
    parser.add_argument("--write", action="store_true", help="write the table into config/SIZING.md")
    options = vars(parser.parse_args())
    is_written = options.pop("write")
    command = " ".join(["python -m tests.bench.sizing", *sys.argv[1:]])
    text = table(asyncio.run(measure(**options)), command)
    print(text)
    if is_written:
        write(text)


if __name__ == "__main__":
    main()
