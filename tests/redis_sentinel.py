"""Redis behind Sentinel: a primary, a replica, and three sentinels, as real processes on loopback."""

import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from tests.ports import HeldPorts
from tests.redis_server import RedisServer, executable

SERVICE = "metaproxy-store"
SENTINELS = 3
QUORUM = 2


class SentinelProcess:
    """One sentinel that watches the server at ``primary_port``."""

    def __init__(self, primary_port: int, *, lines: str = "") -> None:
        self._held = HeldPorts()
        self.port = self._held.first
        self._folder = tempfile.mkdtemp(prefix="metaproxy-sentinel-")
        self._file = Path(self._folder) / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._folder}\nlogfile {self._folder}/log\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 3000\n{lines}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not answer yet."""
        self._process = subprocess.Popen(
            [executable(), str(self._file), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it, and remove what it has written."""
        self.kill()
        self._held.close()
        shutil.rmtree(self._folder)

    def client(self) -> Redis:
        """Return a blocking client of the sentinel."""
        return Redis(port=self.port, decode_responses=True)

    def names(self) -> int:
        """Return the port of the server that it names as the primary."""
        with self.client() as client:
            return int(client.sentinel_masters()[SERVICE]["port"])

    def knows_all(self) -> bool:
        """True if it knows the replica and the other sentinels, so that it can lead a failover."""
        try:
            with self.client() as client:
                state = client.sentinel_masters()[SERVICE]
        except (RedisError, KeyError):
            return False
        return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == SENTINELS - 1


class RedisBehindSentinel:
    """Two servers and three sentinels; a context manager that starts and stops them."""

    def __init__(self) -> None:
        self.servers = RedisServer(), RedisServer()
        self.sentinels: list[SentinelProcess] = []
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The URL of the store."""
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{addresses}/{SERVICE}/0"

    def __enter__(self) -> Self:
        for server in self.servers:
            self._stack.enter_context(server)
        first, second = self.servers
        with second.client() as client:
            client.replicaof("127.0.0.1", str(first.port))
            while client.info("replication")["master_link_status"] != "up":
                time.sleep(0.01)
        for _ in range(SENTINELS):
            sentinel = SentinelProcess(first.port)
            self._stack.callback(sentinel.close)
            self.sentinels.append(sentinel)
            sentinel.start()
        while not all(sentinel.knows_all() for sentinel in self.sentinels):
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def primary(self) -> RedisServer:
        """The server that most sentinels name."""
        named = sorted(sentinel.names() for sentinel in self.sentinels)
        return next(server for server in self.servers if server.port == named[len(named) // 2])

    @property
    def other(self) -> RedisServer:
        """The server that is not the primary."""
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def fail_over(self) -> None:
        """Have a sentinel make the replica the primary."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
