"""A real Keystone: installed once into a virtual environment of its own, started on a unix socket.

Keystone 30 under gunicorn, on SQLite. Its WSGI module reads ``sys.argv``, so gunicorn gets no arguments: its
settings stand in a file that ``GUNICORN_CMD_ARGS`` names.
"""

import getpass
import grp
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-keystone"
REQUIREMENTS = ("keystone>=30,<31", "gunicorn>=23", "setuptools<81")
INSTALL_SECONDS = 900
START_SECONDS = 300
ADMIN_PASSWORD = "admin-password"

KEYSTONE_CONF = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[token]
expiration = {expiration}
"""
GUNICORN_CONF = """\
bind = ["unix:{socket}", "127.0.0.1:{port}"]
wsgi_app = "keystone.wsgi.api:application"
threads = 4
"""


def install() -> Path:
    """Return the folder of Keystone's programs, installing them where they are missing."""
    programs = ENVIRONMENT / "bin"
    complete = ENVIRONMENT / ".complete"
    if not complete.exists() or complete.read_text() != repr(REQUIREMENTS):
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)]
        subprocess.run(make, check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
        subprocess.run([*pip, "install", "--quiet", *REQUIREMENTS], check=True, timeout=INSTALL_SECONDS)
        complete.write_text(repr(REQUIREMENTS))
    return programs


def bootstrap(programs: Path, folder: Path) -> None:
    """Make a database, keys, and an administrator called ``admin``."""
    for repository in ("fernet", "credential"):
        (folder / repository).mkdir(mode=0o700)
    _configure(folder, expiration=3600)
    owner = ["--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name]
    for command in (
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", "RegionOne",
         "--bootstrap-public-url", "http://keystone.test/v3"],
    ):  # fmt: skip
        manage = [str(programs / "keystone-manage"), "--config-file", str(folder / "keystone.conf"), *command]
        subprocess.run(manage, check=True, capture_output=True, timeout=START_SECONDS)


@contextmanager
def running(programs: Path, folder: Path, *, name: str, port: int, expiration: int = 3600) -> Iterator[str]:
    """Run Keystone on the database in ``folder``, with tokens of ``expiration`` seconds; yield its socket.

    It listens on ``port`` of the loopback interface as well.
    """
    home = folder / name
    home.mkdir()
    _configure(folder, expiration=expiration, home=home)
    path = str(home / "socket")
    settings = home / "gunicorn.conf.py"
    settings.write_text(GUNICORN_CONF.format(socket=path, port=port))
    environment = os.environ | {
        "OS_KEYSTONE_CONFIG_DIR": str(home),
        "GUNICORN_CMD_ARGS": f"-c {settings}",
    }
    with (home / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen([str(programs / "gunicorn")], env=environment, stdout=log, stderr=log)
        try:
            _wait_for(path, process)
            yield path
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def _configure(folder: Path, *, expiration: int, home: Path | None = None) -> None:
    text = KEYSTONE_CONF.format(folder=folder, expiration=expiration)
    ((home or folder) / "keystone.conf").write_text(text)


def _wait_for(path: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if process.poll() is not None:
            raise RuntimeError(f"Keystone ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError("Keystone does not listen")
        time.sleep(0.1)
    # gunicorn listens before its worker has loaded Keystone; the first answer waits for it.
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=START_SECONDS) as client:
        client.get("http://keystone.test/v3").raise_for_status()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0
