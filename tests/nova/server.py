"""A real Nova API: installed once into a virtual environment of its own, on SQLite, behind deploy/paste.

Only its API process runs. Nothing listens for its messages, and no instance is ever made.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metaproxy.demo.world import METAPROXY
from tests.e2e.processes import ROOT, wait_until

ENVIRONMENT = ROOT / ".venv-nova"
REQUIREMENTS = ("nova>=34,<35", "gunicorn>=23", "setuptools<81")
INSTALL_SECONDS = 900
START_SECONDS = 120.0
PASTE = ROOT / "deploy" / "paste"

NOVA_CONF = """\
[DEFAULT]
transport_url = fake:/
state_path = {folder}
log_file = {folder}/nova.log
[database]
connection = sqlite:///{folder}/cell.db
[api_database]
connection = sqlite:///{folder}/api.db
[oslo_concurrency]
lock_path = {folder}
"""
GUNICORN_CONF = """\
bind = ["unix:{socket}"]
wsgi_app = "nova.wsgi.osapi_compute:application"
threads = 4
"""


def install() -> Path:
    """Return the folder of Nova's programs, installing them where they are missing."""
    programs = ENVIRONMENT / "bin"
    complete = ENVIRONMENT / ".complete"
    wanted = repr(REQUIREMENTS) + (ROOT / "pyproject.toml").read_text()
    if not complete.exists() or complete.read_text() != wanted:
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)]
        subprocess.run(make, check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
        install = [*pip, "install", "--quiet", *REQUIREMENTS, "-e", str(ROOT)]
        subprocess.run(install, check=True, timeout=INSTALL_SECONDS)
        complete.write_text(wanted)
    return programs


def make_databases(programs: Path, folder: Path) -> None:
    """Make Nova's two databases, and the one cell that its API looks into."""
    (folder / "nova.conf").write_text(NOVA_CONF.format(folder=folder))
    for command in (
        ["api_db", "sync"],
        ["cell_v2", "map_cell0", "--database_connection", f"sqlite:///{folder}/cell.db"],
        ["db", "sync", "--local_cell"],
    ):
        manage = [str(programs / "nova-manage"), "--config-file", str(folder / "nova.conf"), *command]
        ran = subprocess.run(manage, capture_output=True, text=True, timeout=START_SECONDS)
        if ran.returncode:
            raise RuntimeError(f"nova-manage {command}:\n{ran.stdout}{ran.stderr}")


def write_pipeline(folder: Path, identity: str) -> None:
    """Write both files of deploy/paste with this identity service, and one filter that tells the context."""
    ini = (PASTE / "api-paste.ini").read_text()
    assert " keystonecontext " in ini
    ini = ini.replace(" keystonecontext ", " keystonecontext telling ")
    ini += "\n[filter:telling]\npaste.filter_factory = tests.nova.telling:filter_factory\n"
    (folder / "api-paste.ini").write_text(ini)
    settings = (PASTE / "metaproxy.yaml").read_text()
    assert "https://keystone.internal.example/v3" in settings
    (folder / "metaproxy.yaml").write_text(
        settings.replace("https://keystone.internal.example/v3", f"{identity}/v3").replace(
            "1000/minute", "3/minute"
        )
    )


@contextmanager
def running(programs: Path, folder: Path) -> Iterator[str]:
    """Run Nova's API under gunicorn; yield the path of its socket."""
    path = folder / "socket"
    settings = folder / "gunicorn.conf.py"
    settings.write_text(GUNICORN_CONF.format(socket=path))
    environment = os.environ | {
        "OS_NOVA_CONFIG_DIR": str(folder),
        "KEYSTONE_PASSWORD": METAPROXY.password,
        "PYTHONPATH": str(ROOT),
        # Nova reads sys.argv, so gunicorn gets no arguments.
        "GUNICORN_CMD_ARGS": f"-c {settings}",
    }
    with (folder / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen([str(programs / "gunicorn")], env=environment, stdout=log, stderr=log)
        try:
            wait_until(
                lambda: listens(path) or process.poll() is not None, what="Nova", seconds=START_SECONDS
            )
            assert process.poll() is None, (folder / "gunicorn.log").read_text()
            yield str(path)
        finally:
            process.terminate()
            process.wait(30)


def listens(path: Path) -> bool:
    """Say whether gunicorn listens; requests wait in its queue until Nova is loaded."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
