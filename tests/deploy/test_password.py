from __future__ import annotations

import json
import os
from pathlib import Path

from devices import RASPBERRY_PI
from ssh_server import device, says
from terminal import types

from edgegolf.records import to_dict


def test_password_is_asked_for_on_a_terminal_and_never_shown(tmp_path: Path) -> None:
    secret = "correct horse battery"
    status = {**to_dict(RASPBERRY_PI), "releases": [], "current": None}
    environment = {**os.environ, "HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    with device(says(json.dumps(status).encode()), tmp_path, secret) as host:
        command = ("deploy", host.name, "--status")
        said = types(["wrong", secret], command, tmp_path, environment)
        assert said.count(f"Password of {host.name}: ") == 2
        assert "Raspberry Pi 4 Model B" in said
        assert secret not in said
        said = types(["wrong"] * 3, command, tmp_path, environment)
        assert said.count("Password of") == 3
        assert "does not let us in" in said
