"""A demo service as a process of its own: listens on loopback, says where, serves until told to stop.

The first line on standard output is the service's URL: whoever started it reads the port there, so that
no port need be chosen beforehand.
"""

import argparse
import socket

import uvicorn

from metaproxy.demo.service import Service


def service_arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--host`` and ``--port`` (default 0: any free one)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes a free one")
    return parser


def run_service(service: Service, port: int, host: str = "127.0.0.1") -> None:
    """Serve ``service`` on ``host`` until SIGTERM or SIGINT."""
    with socket.create_server((host, port), backlog=512) as listener:
        print(f"http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - the parent reads it
        config = uvicorn.Config(
            service, lifespan="off", log_level="warning", access_log=False, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listener])
