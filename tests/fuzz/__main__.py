"""``make fuzz``: every target for a while, led by coverage; needs atheris."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.seeds import WORDS


def run_one(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["metaproxy"]):
        from tests.fuzz.targets import TARGETS

    for number, word in enumerate(WORDS[name]):
        (corpus / str(number)).write_bytes(word)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=2048", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", choices=WORDS)
    arguments = parser.parse_args()
    if arguments.target:
        with tempfile.TemporaryDirectory() as corpus:
            run_one(arguments.target, arguments.seconds, Path(corpus))
        return 0
    seconds = ("--seconds", str(arguments.seconds))
    commands = [[sys.executable, "-m", "tests.fuzz", *seconds, "--target", name] for name in WORDS]
    return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
