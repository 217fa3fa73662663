"""``metaproxy``, and ``python -m metaproxy``."""

import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        # Before the imports, which take a while. It would end the process until the server can reload,
        # which then lets through what has come.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from metaproxy import cli

    cli.main()


if __name__ == "__main__":
    main()
