"""The same line for WSGI: a filter around any WSGI application, and factories for PasteDeploy."""

from metaproxy.wsgi.filter import Filter, Proxy, app_factory, filter_factory

__all__ = ["Filter", "Proxy", "app_factory", "filter_factory"]
