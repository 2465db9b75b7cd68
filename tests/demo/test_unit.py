"""What lives on a Raspberry Pi: the unit and the script that installs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from demo_models import ROOT

FOLDER = ROOT / "deploy" / "raspberry-pi"
NAME = "edgegolf-demo.service"
EXPOSURE = 15  # in tenths: 1.5 of 10


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as install.sh writes it, with a release to start."""
    binaries = tmp_path / "edgegolf/current/environment/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to("/bin/true")
    path = tmp_path / NAME
    path.write_text((FOLDER / NAME).read_text().replace("@DATA@", str(tmp_path)))
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_little_exposed(unit: Path) -> None:
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit]
    judged = subprocess.run(command, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout


def test_the_unit_opens_the_port_that_the_demo_takes() -> None:
    from edgegolf.cli import demo

    (port,) = [option.default for option in demo.params if option.name == "port"]
    assert f"SocketBindAllow=tcp:{port}\n" in (FOLDER / NAME).read_text()
    assert f":{port}/" in (FOLDER / "install.sh").read_text()


def test_the_script_is_a_script() -> None:
    checked = subprocess.run(["sh", "-n", FOLDER / "install.sh"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert (FOLDER / "install.sh").stat().st_mode & 0o111
