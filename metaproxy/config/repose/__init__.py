"""From Repose's XML to metaproxy's YAML: one file for each family of Repose's files."""

from metaproxy.config.repose.conversion import Imported, import_folder
from metaproxy.config.repose.documents import ReposeError

__all__ = ["Imported", "ReposeError", "import_folder"]
