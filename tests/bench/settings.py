"""metaproxy's configuration for the benchmark: what an operator would write, with limits nobody reaches."""

from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from metaproxy.demo.world import METAPROXY

ITEM = "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}"
IMAGE_LIST = "/v2.1/{tenant_id}/images/detail"


class Feature(Enum):
    """Something that metaproxy is given to do beside the usual: a value is its name in tables."""

    EDITS = "headers and cors"
    NO_ROUTES = "no cache routes"
    SPANS = "spans of 1 %"
    REDIS = "counted in Redis"
    LEASES = "leased from Redis"


def write_settings(
    folder: Path,
    *,
    port: int,
    upstream_port: int,
    keystone_port: int,
    access_log: bool,
    rules: int,
    workers: int = 1,
    store: str = "",
    feature: Feature | None = None,
) -> Path:
    """Write the configuration into ``folder``; return its path.

    ``rules`` is the number of rate rules, of role rules and of cached routes; all but the last of each are
    for other paths than the requests that are measured. ``store`` is the Redis that ``workers`` share.
    """
    settings: dict[str, Any] = {
        "server": {"listen": f"127.0.0.1:{port}", "workers": workers},
        "admin": {"listen": []},
        "upstream": {"targets": [f"http://127.0.0.1:{upstream_port}"]},
        "identity": _identity(keystone_port),
        "authorization": {"rules": _role_rules(rules)},
        "limits": _limits(rules),
        "cache": {
            "routes": [*({"path": f"{path}/{{key}}"} for path in _others(rules)), {"path": ITEM, "ttl": "1h"}]
        },
        "logging": {"access": access_log},
    }
    if store:
        settings["store"] = {"url": store}
    match feature:
        case Feature.LEASES:
            settings["limits"]["sharing"] = "leased"
        case Feature.EDITS:
            settings["headers"] = {"response": {"set": [{"name": "X-Served-By", "value": "metaproxy"}]}}
            settings["cors"] = {"origins": ["https://horizon.example"]}
        case Feature.NO_ROUTES:
            del settings["cache"]
        case Feature.SPANS:
            settings["tracing"] = {"otlp_endpoint": f"http://127.0.0.1:{upstream_port}", "sample": 0.01}
    path = folder / "metaproxy.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def _identity(port: int) -> dict[str, Any]:
    return {
        "provider": "keystone-v3",
        "url": f"http://127.0.0.1:{port}/v3",
        "login": {
            "username": METAPROXY.name,
            "password": METAPROXY.password,
            "user_domain_name": "Default",
            "project_name": METAPROXY.project.name,
            "project_domain_name": "Default",
        },
        "cache": {"ttl": "1h"},
    }


def _role_rules(rules: int) -> list[dict[str, Any]]:
    others = [{"path": f"{path}/**", "roles": ["operator"]} for path in _others(rules)]
    return [*others, {"path": ITEM, "methods": ["GET", "HEAD"], "roles": ["reader"]}]


def _limits(rules: int) -> dict[str, Any]:
    others = [
        {"name": f"other-{number}", "path": f"{path}/**", "rate": "1000000/second"}
        for number, path in enumerate(_others(rules))
    ]
    lists = {"name": "lists", "path": IMAGE_LIST, "methods": ["GET"], "rate": "1/hour", "burst": 1}
    # For a minute, as rates usually are: borrowed requests live a second, and not a sixteenth of one.
    reads = {"name": "reads", "path": ITEM, "methods": ["GET", "HEAD"], "rate": "60000000/minute"}
    return {
        # Not 413: nginx closes the connection after that one.
        "over_limit_status": 429,
        "rates": [*others, lists, reads],
        "absolute": {"request_body": "128MiB", "concurrent": {"per": "project", "max": 100_000}},
    }


def _others(rules: int) -> list[str]:
    return [f"/v2.1/{{tenant_id}}/others-{number}" for number in range(rules - 1)]
