"""The sample configuration: ``config/metaproxy.yaml`` of the repository; a wheel has it beside this file."""

from importlib.resources import files
from pathlib import Path

NAME = "metaproxy.yaml"


def sample_configuration() -> str:
    """Return the text of the sample configuration, every key explained."""
    packaged = files("metaproxy.config") / NAME
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # A checkout, or an editable install of one: hatch copies the file when it builds a wheel.
    return (Path(__file__).parents[2] / "config" / NAME).read_text(encoding="utf-8")
