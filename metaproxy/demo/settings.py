"""The demo's configuration: a real file, the kind that an operator writes."""

from pathlib import Path
from typing import Final

from metaproxy.demo.world import METAPROXY

PASSWORD_FILE: Final = "keystone_password"  # noqa: S105 - a file's name
TEMPLATE: Final = """\
server:
  listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
upstream:
  targets: [{compute_url}]
identity:
  provider: keystone-v3
  url: {identity_url}/v3
  login:
    username: {username}
    password: ${{file:{password_file}}}
    user_domain_name: Default
    project_name: service
    project_domain_name: Default
  anonymous: [/, /v2.1/]
limits:
  endpoint: "/v2.1/{{tenant_id}}/limits"
  rates:
    - name: metadata-reads
      path: "/v2.1/{{tenant_id}}/images/{{image_id}}/metadata/**"
      methods: [GET, HEAD]
      per: [project]
      rate: 1000/minute
    - name: image-lists
      path: "/v2.1/{{tenant_id}}/images/detail"
      methods: [GET]
      per: [project]
      rate: 5/minute
      burst: 5
  absolute:
    request_body: 1MiB
    image_metadata_items: 40
cache:
  routes:
    - path: "/v2.1/{{tenant_id}}/images/{{image_id}}/metadata/{{key}}"
      ttl: 60s
      negative_ttl: 5s
    - path: "/v2.1/{{tenant_id}}/images/{{image_id}}/metadata"
      ttl: 60s
logging:
  format: console
"""


def write_settings(folder: Path, *, port: int, admin_port: int, compute_url: str, identity_url: str) -> Path:
    """Write the configuration and the secret that it names into ``folder``; return its path."""
    password_file = folder / PASSWORD_FILE
    password_file.touch(mode=0o600)
    password_file.write_text(METAPROXY.password)
    settings = folder / "metaproxy.yaml"
    settings.write_text(
        TEMPLATE.format(
            port=port,
            admin_port=admin_port,
            compute_url=compute_url,
            identity_url=identity_url,
            username=METAPROXY.name,
            password_file=password_file,
        )
    )
    return settings
