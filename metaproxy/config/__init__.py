"""The configuration: a YAML file as frozen types, or every reason why it cannot be used."""

from metaproxy.config.load import effective, load_config
from metaproxy.config.model import Config
from metaproxy.config.problems import ConfigError, Problem

__all__ = ["Config", "ConfigError", "Problem", "effective", "load_config"]
