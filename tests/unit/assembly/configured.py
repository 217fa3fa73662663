"""Configurations for the tests of the assembly, made from YAML as operators write it."""

from pathlib import Path

from metaproxy.config import Config, load_config

BASE = """
server: {listen: 127.0.0.1:0}
upstream: {targets: [http://127.0.0.1:9]}
"""

STATIC = """
identity:
  provider: static
  advertise: http://identity.example/v3
  tokens:
    - {token: alice-token, user: {id: u1, name: alice}, project: {id: t1, name: demo}, roles: [member]}
"""

KEYSTONE = """
identity:
  provider: keystone-v3
  url: http://127.0.0.1:9/v3
  login: {username: m, password: p, user_domain_name: Default}
"""


def config(folder: Path, *sections: str) -> Config:
    """Return the configuration of ``BASE`` and ``sections``."""
    path = folder / "metaproxy.yaml"
    path.write_text(BASE + "\n".join(sections))
    return load_config(path, environ={})
