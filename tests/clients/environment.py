"""The real clients of the compute API, installed once into a virtual environment of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-clients"
REQUIREMENTS = ("openstacksdk>=4.22", "python-novaclient>=18.13")
INSTALL_SECONDS = 900
RUN_SECONDS = 180


def install() -> Path:
    """Return the interpreter that has the clients, installing them where they are missing."""
    interpreter = ENVIRONMENT / "bin" / "python"
    complete = ENVIRONMENT / ".complete"
    if not complete.exists() or complete.read_text() != repr(REQUIREMENTS):
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)]
        subprocess.run(make, check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter)]
        subprocess.run([*pip, "install", "--quiet", *REQUIREMENTS], check=True, timeout=INSTALL_SECONDS)
        complete.write_text(repr(REQUIREMENTS))
    return interpreter


def limits_read_by(interpreter: Path, client: str, url: str, token: str) -> Any:
    """Return what the program ``read_with_<client>.py`` reads from the compute API at ``url``."""
    program = Path(__file__).with_name(f"read_with_{client}.py")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [str(interpreter), str(program), url, token],
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
