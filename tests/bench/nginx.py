"""Writes nginx's configuration: ``nginx.conf`` beside this file, with ports and paths filled in."""

import getpass
import re
from pathlib import Path

TEMPLATE = Path(__file__).with_name("nginx.conf")


def write_configuration(folder: Path, *, port: int, upstream_port: int, access_log: Path | None) -> Path:
    """Write the configuration into ``folder``, where nginx keeps all its files; return its path.

    Lines go to ``access_log`` in batches as large and as old as metaproxy's; None writes none.
    """
    words = {
        "user": getpass.getuser(),
        "folder": str(folder),
        "port": str(port),
        "upstream_port": str(upstream_port),
        "access_log": f"{access_log} line buffer=64k flush=200ms" if access_log else "off",
    }
    path = folder / "nginx.conf"
    path.write_text(re.sub("@([a-z_]+)@", lambda found: words[found[1]], TEMPLATE.read_text()))
    return path
