"""Configurations for the preflight: a file with what a test adds, and what is said of it."""

from pathlib import Path

from metaproxy.preflight import Machine, inspect

ROOMY = Machine(binds_any_port=True)
"""A machine that no bound is too high for."""

SOUND = {
    "server": "{listen: 127.0.0.1:0}",
    "admin": "{listen: 127.0.0.1:0}",
    "upstream": "{targets: [http://127.0.0.1:1]}",
    "identity": "{provider: static, tokens: [{token: '${TOKEN}', user: {id: u}}]}",
    "limits": "{rates: [{name: all, rate: 10/second}]}",
}
"""Sections about which there is nothing to say."""

ENVIRON = {"TOKEN": "of-alice", "PASSWORD": "swordfish"}


def written(folder: Path, **sections: str) -> Path:
    """Write a configuration in which ``sections`` stand in place of the sound ones; return its path."""
    file = folder / "metaproxy.yaml"
    file.write_text("".join(f"{name}: {text}\n" for name, text in (SOUND | sections).items() if text))
    file.chmod(0o600)
    return file


def said(folder: Path, machine: Machine = ROOMY, **sections: str) -> list[str]:
    """Return every line about a configuration, without the folder's name."""
    report = inspect(written(folder, **sections), ENVIRON, machine=machine)
    return [str(problem).replace(f"{folder}/", "") for problem in report.problems]
