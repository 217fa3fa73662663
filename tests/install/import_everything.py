"""Imports every public name and every module but those under the prefixes that are arguments; prints them."""

import importlib
import pkgutil
import sys

import metaproxy

for name in metaproxy.__all__:
    getattr(metaproxy, name)
for module in pkgutil.walk_packages(metaproxy.__path__, "metaproxy."):
    if not module.name.endswith("__main__") and not module.name.startswith(tuple(sys.argv[1:])):
        importlib.import_module(module.name)
        print(module.name)
