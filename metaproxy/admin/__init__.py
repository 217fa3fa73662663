"""The operator's own listener. Never on the listener that clients reach."""

from metaproxy.admin.app import create_admin

__all__ = ["create_admin"]
