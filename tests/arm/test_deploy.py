"""`edgegolf deploy` and `bench --on` against a stand-in of a Raspberry Pi 4, over a real SSH
server.

One story, told in order: the tests share the device, as a user's commands do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stand_in_pi
import terminal
from stand_in_pi import Pi

from edgegolf.cards import read_card
from edgegolf.emulation.boards import RASPBERRY_PI_2, RASPBERRY_PI_4
from edgegolf.emulation.choice import choose

pytestmark = pytest.mark.arm

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models" / "mnist"
# What the card names for the device.
CHOICE = choose(read_card(MODELS / "tight_resnet"), RASPBERRY_PI_4, ("litert", "tflite-runtime"))
INT8 = MODELS / "tight_resnet" / CHOICE.file
ONNX = MODELS / "tight_resnet" / "int8.onnx"
BAD_INPUT = 2
SECONDS = 600


@dataclass
class User:
    """Somebody at this machine, with a home folder and an SSH configuration of their own."""

    home: Path
    pi: Pi

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return {
            **kept,
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        }

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgegolf", *map(str, arguments)],
            cwd=self.home, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def succeeds(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def fails(self, *arguments: object) -> str:
        """What it says, which is one error and a hint."""
        done = self.run(*arguments)
        assert done.returncode == BAD_INPUT, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        return done.stderr

    def types(self, answer: str, *arguments: object) -> str:
        """Run a command on a terminal and answer its first question; what was shown."""
        return terminal.types([answer], arguments, self.home, self.environment())


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"it has ended too early: {process.communicate()}")
        assert time.monotonic() < deadline
        time.sleep(0.002)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    if os.geteuid() != 0:
        pytest.skip("the stand-in of a Raspberry Pi needs root")
    with stand_in_pi.stand_in(RASPBERRY_PI_4, tmp_path_factory.mktemp("pi")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(pi: Pi, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user who has never been on the device."""
    user = User(tmp_path_factory.mktemp("user"), pi)
    (user.home / ".ssh").mkdir()
    (user.home / ".ssh" / "config").write_text(
        f"Host pi pi-again\n HostName 127.0.0.1\n Port {pi.port}\n User root\n"
        f" IdentityFile {pi.work}/key\n StrictHostKeyChecking no\n"
    )
    return user


@pytest.fixture(scope="module")
def user(stranger: User) -> User:
    """A user who trusts the device's host key."""
    key = " ".join((stranger.pi.work / "host_key.pub").read_text().split()[:2])
    stranger.known_hosts.write_text(f"[127.0.0.1]:{stranger.pi.port} {key}\n")
    return stranger


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


# --- reaching it ---------------------------------------------------------------------------------


def fingerprint(pi: Pi) -> str:
    told = subprocess.run(
        ["ssh-keygen", "-lf", pi.work / "host_key.pub"], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[1]


def test_unknown_host_key_is_refused_with_the_command_to_accept_it(stranger: User) -> None:
    said = stranger.fails("deploy", "pi", "--status")
    assert f"unknown: {fingerprint(stranger.pi)}" in said
    assert not stranger.known_hosts.exists()
    (accept,) = re.findall(r"echo '.*", said)
    subprocess.run(["sh", "-c", accept], check=True)
    assert "Raspberry Pi 4 Model B" in stranger.succeeds("deploy", "pi", "--status")
    stranger.known_hosts.unlink()


def test_unknown_host_key_asks_on_a_terminal(stranger: User) -> None:
    said = stranger.types("n", "deploy", "pi", "--status")
    assert fingerprint(stranger.pi) in said
    assert "error: " in said
    assert not stranger.known_hosts.exists()
    said = stranger.types("y", "deploy", "pi", "--status")
    assert fingerprint(stranger.pi) in said
    assert "Raspberry Pi 4 Model B" in said
    assert stranger.known_hosts.read_text().count("\n") == 1
    stranger.succeeds("deploy", "pi", "--status")
    stranger.known_hosts.unlink()


def test_changed_host_key_is_refused(user: User) -> None:
    before = user.known_hosts.read_text()
    other = " ".join((user.pi.work / "wrong_key.pub").read_text().split()[:2])
    user.known_hosts.write_text(f"[127.0.0.1]:{user.pi.port} {other}\n")
    said = user.fails("deploy", "pi", "--status")
    assert "has changed" in said
    assert "ssh-keygen" in said
    user.known_hosts.write_text(before)


def test_wrong_key_says_how_to_give_the_right_one(user: User) -> None:
    wrong = user.pi.work / "wrong_key"
    port = user.pi.port
    said = user.fails("deploy", "root@127.0.0.1", "--port", port, "--key", wrong, "--status")
    assert "does not let us in" in said
    assert f"ssh-copy-id -i {wrong}.pub -p {port} root@127.0.0.1" in said
    said = user.fails("bench", INT8, "--on", "root@127.0.0.1", "--port", port, "--key", wrong)
    assert "does not let us in" in said


def test_passphrase_is_asked_for_on_a_terminal_and_never_shown(user: User) -> None:
    key = user.home / "locked_key"
    shutil.copy(user.pi.work / "key", key)
    key.chmod(0o600)
    secret = "correct horse battery"
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", secret, "-f", str(key)]
    subprocess.run(change, check=True)
    command = ("deploy", f"root@127.0.0.1:{user.pi.port}", "--key", key, "--status")
    said = user.fails(*command)
    assert "ssh-add" in said
    said = user.types(secret, *command)
    assert f"Passphrase of {key}" in said
    assert "Raspberry Pi 4 Model B" in said
    assert secret not in said
    assert secret not in (user.pi.work / "sshd.log").read_text()


def test_nobody_there(user: User) -> None:
    said = user.fails("deploy", "root@127.0.0.1", "--port", 1, "--status")
    assert "cannot be reached" in said
    assert "does not exist" in user.fails("deploy", "pi", "--key", "no-such-key", "--status")


# --- what it is ----------------------------------------------------------------------------------


def test_status_shows_the_device(user: User) -> None:
    said = user.succeeds("deploy", "pi", "--status")
    for fact in ("Raspberry Pi 4 Model B Rev 1.4", "Debian GNU/Linux 12 (bookworm)", "aarch64",
                 "64 bits", "Python 3.11", "governor ondemand", "1,800 MHz", "48 °C"):  # fmt: skip
        assert fact in said
    assert "throttled" not in said
    flags = user.pi.work / "hardware/sys/devices/platform/soc/soc:firmware/get_throttled"
    flags.write_text("50005\n")
    assert "throttled: under-voltage" in user.succeeds("deploy", "pi", "--status")
    flags.write_text("0\n")


def test_missing_python(user: User) -> None:
    said = user.fails("deploy", "pi", INT8, "--python", "/usr/bin/python3.13")
    assert "has no Python called '/usr/bin/python3.13'" in said
    assert said == user.fails("bench", INT8, "--on", "pi", "--python", "/usr/bin/python3.13")
    user.pi.run("mv /usr/bin/python3 /usr/bin/hidden")
    try:
        assert "sudo apt install python3" in user.fails("deploy", "pi", INT8)
    finally:
        user.pi.run("mv /usr/bin/hidden /usr/bin/python3")


def _in_use(status: str) -> int:
    """The release that a status says is in use."""
    words = " ".join(status.split())
    (release,) = re.findall(r"release (\d+) of [^,]*, edgegolf [^,]*, in use", words)
    return int(release)


def test_folder_names_reach_no_shell(user: User) -> None:
    folder = '~/it\'s a "folder"; touch pwned $(touch pwned) `touch pwned`'
    said = user.succeeds("deploy", "pi", "--status", "--dir", folder)
    assert folder.removeprefix("~/") in " ".join(said.split())
    assert "pwned'" in user.fails("deploy", "pi", "--status", "--python", "python3'; touch pwned'")
    assert not (user.pi.home / "pwned").exists()


def test_without_room_nothing_is_sent(user: User, wheels: Path) -> None:
    filler = fill(user.pi, leave=20_000_000)
    try:
        said = user.fails("deploy", "pi", INT8, "--wheels", wheels)
        assert re.search(r"has \d+ MB free, the packages need \d+ MB", said)
        assert not (user.pi.deployed / "objects").exists()
    finally:
        filler.unlink()


def fill(pi: Pi, leave: int) -> Path:
    """Fill the device's disk up to so many bytes."""
    filler = pi.home / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(pi.home).f_bavail * os.statvfs(pi.home).f_bsize
        os.posix_fallocate(file.fileno(), 0, free - leave)
    return filler


# --- deploying -----------------------------------------------------------------------------------


def test_interrupted_copy_goes_on_where_it_was(user: User, wheels: Path) -> None:
    """The first deployment: its server is killed mid-copy, then the same command is run again."""
    (user.home / "models").symlink_to(ROOT / "models")
    process = user.start("deploy", "pi", "tight_resnet", "--wheels", wheels)
    partial: list[Path] = []

    def under_way() -> bool:
        found = (user.pi.deployed / "objects").glob("*.partial")
        partial[:] = [path for path in found if path.stat().st_size > 100_000]
        return bool(partial)

    wait_until(under_way, process)
    user.pi.kill_server()
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == BAD_INPUT
    assert "the connection to pi was lost" in said
    assert "run the same command again" in said
    assert not (user.pi.deployed / "current").exists()
    copied, file_number = partial[0].stat().st_size, partial[0].stat().st_ino
    start = partial[0].read_bytes()
    user.pi.start_server()

    said = user.succeeds("deploy", "pi", "tight_resnet", "--wheels", wheels)
    assert (
        f"goes {INT8.name}, for {CHOICE.runtime}: the fewest instructions on a Raspberry Pi 4"
        in said
    )
    whole = partial[0].with_suffix("")
    assert whole.stat().st_ino == file_number  # the same file, which only grew
    assert whole.stat().st_size > copied
    assert whole.read_bytes()[:copied] == start
    assert sha256(whole) == whole.name


def test_deployed_model_runs_there(user: User) -> None:
    current = user.pi.deployed / "current"
    manifest = json.loads((current / "manifest.json").read_text())
    (model,) = manifest["models"]
    assert (manifest["schema"], manifest["release"]) == ("edgegolf.release/1", 1)
    assert (model["name"], model["sha256"]) == (f"tight_resnet/{INT8.name}", sha256(INT8))
    assert model["runtime"] == CHOICE.runtime
    assert model["difference"] <= 0.02  # XNNPACK rounds a few values otherwise
    assert sha256(current / "models" / model["name"]) == sha256(INT8)
    seven = user.pi.deployed.parents[2] / "seven.png"
    seven.write_bytes((ROOT / "docs" / "seven.png").read_bytes())
    user.pi.run("cd && ~/.local/bin/edgegolf classify seven.png")  # as docs/demo.md does
    seven.unlink()
    files = [path for path in user.pi.deployed.rglob("*") if path.is_file()]
    unique = {path.stat().st_ino: path.stat().st_size for path in files}
    assert sum(unique.values()) < 350_000_000  # as docs/raspberry-pi.md says


def test_c_needs_a_compiler_there(user: User) -> None:
    in_use = (user.pi.deployed / "current").resolve()
    assert "needs a C compiler" in user.fails("deploy", "pi", INT8, "--runtime", "c")
    assert (user.pi.deployed / "current").resolve() == in_use


def test_second_deployment_sends_what_is_new_and_rollback_undoes_it(user: User) -> None:
    environments = user.pi.deployed / "environments"
    before = {path.name: path.stat().st_mtime_ns for path in environments.iterdir()}
    strange = user.home / "it's; $(touch pwned) ünïcode" / "-rf *.tflite"
    strange.parent.mkdir()
    shutil.copy(MODELS / "linear" / "int8-weights.tflite", strange)
    said = user.succeeds("deploy", "pi", "--runtime", "tflite-runtime", INT8, "--", strange)
    size = strange.stat().st_size
    assert f"{size:,} bytes of models were copied" in said
    assert before == {path.name: path.stat().st_mtime_ns for path in environments.iterdir()}
    current = user.pi.deployed / "current"
    manifest = json.loads((current / "manifest.json").read_text())
    names = [model["name"] for model in manifest["models"]]
    assert names == [f"tight_resnet/{INT8.name}", f"{strange.parent.name}/{strange.name}"]
    assert {model["runtime"] for model in manifest["models"]} == {"tflite-runtime"}
    assert (current / "models" / names[1]).read_bytes() == strange.read_bytes()
    assert not (user.pi.home / "pwned").exists()

    assert "Release 1 is in use" in user.succeeds("deploy", "pi", "--rollback")
    assert os.readlink(current) == "releases/1"
    assert (current / "environment/bin/python").is_symlink()
    assert _in_use(user.succeeds("deploy", "pi", "--status")) == 1
    assert "no earlier release" in user.fails("deploy", "pi", "--rollback")


def test_full_disk_leaves_the_deployment_in_use(user: User) -> None:
    filler = fill(user.pi, leave=0)
    try:
        said = user.fails("deploy", "pi", MODELS / "mlp-32" / "float32.tflite")
        assert "the disk is full" in said
        assert "--dir" in said
    finally:
        filler.unlink()
    assert os.readlink(user.pi.deployed / "current") == "releases/1"
    assert _in_use(user.succeeds("deploy", "pi", "--status")) == 1


def test_damaged_model_is_mended(user: User) -> None:
    model = user.pi.deployed / "current" / "models" / "tight_resnet" / INT8.name
    with model.open("r+b") as file:  # a failing card: every link to these bytes is damaged
        file.seek(100)
        file.write(b"damage")
    said = user.succeeds("deploy", "pi", INT8)
    assert f"{INT8.stat().st_size:,} bytes of models were copied" in said
    assert sha256(model) == sha256(INT8)


# --- measuring -----------------------------------------------------------------------------------


def test_bench_on_two_machines_goes_on_after_a_lost_connection(user: User) -> None:
    """The connection breaks while the second machine measures; nothing is measured twice."""
    model = user.home / "plain.tflite"
    shutil.copy(INT8, model)
    (user.pi.work / "hardware/sys/devices/platform/soc/soc:firmware/get_throttled").write_text(
        "50004\n"
    )
    command = ("bench", "--on", "pi", "--on", "pi-again", model, "--min-time", "0.01", "--json")
    process = user.start(*command)
    results = user.pi.deployed / "results"

    def commands() -> list[Path]:
        return [path for path in results.iterdir() if path.is_dir()]

    wait_until(lambda: len(list(results.glob("*/0.json"))) == 1, process)
    (first,) = results.glob("*/0.json")
    measured = first.stat().st_mtime_ns
    wait_until(lambda: len(commands()) == 2, process)
    user.pi.kill_server()
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == BAD_INPUT
    assert "was lost" in said
    user.pi.start_server()
    assert first.stat().st_mtime_ns == measured

    done = user.run(*command)
    assert done.returncode == 0, done.stderr
    assert "pi: 1 of 1 files were measured before" in done.stderr
    assert not commands()
    rows = json.loads(done.stdout)
    assert [row["machine"] for row in rows] == ["pi", "pi-again"]
    for row in rows:
        assert (row["schema"], row["error"]) == ("edgegolf.bench/1", None)
        assert (row["file"], row["size_bytes"]) == (str(model), INT8.stat().st_size)
        assert row["latency_us"]["p50"] > 0
        system = row["system"]
        assert system["board"] == "Raspberry Pi 4 Model B Rev 1.4"
        assert (system["architecture"], system["governor"]) == ("aarch64", "ondemand")
        assert system["temperature_before_c"] == system["temperature_after_c"] == 48.312
        assert system["throttling"] == ["throttled"]
        assert "asimd" in system["vector_features"]


# --- leaving -------------------------------------------------------------------------------------


def test_remove_takes_all_that_was_put_there_and_nothing_else(user: User) -> None:
    own = user.pi.deployed / "own notes"
    own.write_text("mine")
    user.succeeds("deploy", "pi", "--remove")
    assert [path.name for path in user.pi.deployed.iterdir()] == ["own notes"]
    assert "nothing is deployed" in user.fails("deploy", "pi", "--remove")


# --- a 32-bit userland ---------------------------------------------------------------------------


def test_32_bit_userland(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("the stand-in of a Raspberry Pi needs root")
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True)
    with stand_in_pi.stand_in(RASPBERRY_PI_2, tmp_path / "pi") as pi:
        user = User(home, pi)
        key = " ".join((pi.work / "host_key.pub").read_text().split()[:2])
        user.known_hosts.write_text(f"[127.0.0.1]:{pi.port} {key}\n")
        reach = ("deploy", f"root@127.0.0.1:{pi.port}", "--key", pi.work / "key")
        assert "armv7l (32 bits)" in user.succeeds(*reach, "--status")
        said = user.fails(*reach, INT8, ONNX)
        assert "32-bit userland" in said
        assert "runs .tflite files only" in said
        assert "64-bit Raspberry Pi OS" in said
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))
        said = user.fails(*reach, INT8, "--wheels", tmp_path / "wheels")
        assert "the wheels for armv7l and Python 3.11" in said
        assert not pi.deployed.exists()
