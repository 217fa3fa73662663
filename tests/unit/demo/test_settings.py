"""The demo's configuration is one that an operator could have written."""

import stat
from pathlib import Path

from metaproxy.config.load import load_config
from metaproxy.demo.settings import PASSWORD_FILE, write_settings
from metaproxy.demo.world import METAPROXY


def test_it_loads_and_keeps_the_password_out_of_the_yaml(tmp_path: Path) -> None:
    settings = write_settings(
        tmp_path,
        port=18774,
        admin_port=19774,
        compute_url="http://127.0.0.1:1",
        identity_url="http://127.0.0.1:2",
    )
    load_config(settings)
    assert METAPROXY.password not in settings.read_text()
    assert stat.S_IMODE((tmp_path / PASSWORD_FILE).stat().st_mode) == 0o600
