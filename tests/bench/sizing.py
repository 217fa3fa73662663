"""How much memory known tokens, counters and connections take: ``python -m tests.bench.sizing``.

Starts metaproxy with one rate per project, and sends it requests of distinct tokens and projects, the last
ones again, and then opens idle connections. Prints the resident memory of the process after each step. The
numbers in config/SIZING.md come from here. ``--max-bytes 1GiB`` lets the token cache hold all tokens.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.bench import machine
from tests.ports import HeldPorts

CONNECTIONS = 32
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
  cache: {{ttl: 1h, max_bytes: {max_bytes}}}
limits:
  rates: [{{name: all, per: [project], rate: 1000/minute}}]
logging: {{access: false}}
"""


def token_of(number: int) -> str:
    """Return a token as long as a Fernet token of Keystone."""
    return f"gAAAAABn{number:08d}" + "x" * 167


def description(token: str) -> bytes:
    """Return Keystone's description of ``token``: each has a user and a project of its own."""
    number = token[8:16]
    domain = {"id": "default", "name": "Default"}
    described = {
        "expires_at": EXPIRES,
        "user": {"id": f"{number}0f3c9a5be47d4c1fa6d2b8e1", "name": f"user-{number}", "domain": domain},
        "project": {"id": f"{number}4d4c1fa6d2b8e17c905d347a", "name": f"project-{number}", "domain": domain},
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
    """Send one request with each of the tokens, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        project = json.loads(description(token_of(number)))["token"]["project"]["id"]
        writer.write(
            f"GET /v2.1/{project}/servers HTTP/1.1\r\nHost: api\r\nX-Auth-Token: {token_of(number)}\r\n"
            "Accept: application/json\r\nUser-Agent: openstacksdk/4.5.0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise machine.BenchError(head.decode("latin-1"))
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()


async def measure(tokens: int, step: int, connections: int, max_bytes: str) -> None:
    """Print the memory after each ``step`` of ``tokens``, and with ``connections`` that are idle."""
    services = await asyncio.start_server(serve, "127.0.0.1", 0)
    behind = services.sockets[0].getsockname()[1]
    held = HeldPorts()
    port = held.first
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
        try:
            await _until_listening(port)
            _print(process.pid, "at the start")
            numbers: list[int] = []
            for first in range(0, tokens, step):
                numbers = list(range(first, first + step))
                await _ask_all(port, numbers)
                _print(process.pid, f"{first + step} tokens")
            for _ in range(2):
                await _ask_all(port, numbers)
            _print(process.pid, f"the last {step} twice again")
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
            await _ask_all(port, numbers[:CONNECTIONS])
            _print(process.pid, f"{len(idle)} idle connections")
        finally:
            process.terminate()
            await process.wait()


async def _ask_all(port: int, numbers: list[int]) -> None:
    await asyncio.gather(*(ask(port, numbers[lane::CONNECTIONS]) for lane in range(CONNECTIONS)))


def _print(pid: int, when: str) -> None:
    print(f"{machine.resident_bytes(pid) / 2**20:7.1f} MiB  {when}", flush=True)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--step", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--max-bytes", default="64MiB")
    asyncio.run(measure(**vars(parser.parse_args())))
