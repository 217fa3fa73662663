"""``python -m metaproxy``."""

from metaproxy.cli import main

if __name__ == "__main__":
    main()
