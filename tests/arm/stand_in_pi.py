"""A Raspberry Pi's stand-in: a real SSH server whose commands run in an emulated Debian.

The server is this machine's OpenSSH on a loopback port with a host key of its own. Its commands
run in a user namespace, where programs for the other processor are started through QEMU
(binfmt_misc, which such a namespace has of its own since Linux 6.7) and the root folder is the
emulated tree, so that nothing of this machine's userland is in reach.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgegolf.emulation.boards import Board, hardware_files
from edgegolf.emulation.tree import EXTRA_PACKAGES, PACKAGES, debian_tree, write_files

USERLAND = ("base-files", "coreutils", "dash")  # what any Pi has besides Python
HOST_PACKAGES = {"sshd": "openssh-server", "qemu-aarch64-static": "qemu-user-static"}
EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7l": "qemu-arm-static"}
# The header of a program: its class (64 or 32 bits), its kind (2 or 3), its processor.
ELF = {"aarch64": (2, 0xB7), "armv7l": (1, 0x28)}

ENTER = """\
set -e
work=$1 lower=$2 registration=$3
mount --make-rprivate /
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s' "$registration" > /proc/sys/fs/binfmt_misc/register
root=$work/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/overlay" "$root"
mount --rbind /proc "$root/proc"
mount --bind "$work/hardware/proc/cpuinfo" "$root/proc/cpuinfo"
mount --rbind /dev "$root/dev"
mount --bind "$work/hardware/sys" "$root/sys"
mkdir -p "$root/home/pi"
mount -t tmpfs -o size=600m tmpfs "$root/home/pi"
echo ready
exec sleep infinity
"""


@dataclass
class Pi:
    """The running stand-in.

    Attributes:
        work: Its folder here; `hardware/sys` is its `/sys`.
        port: Of its SSH server.
        namespace: The process that holds its mounts.
        server: The SSH server.
    """

    work: Path
    port: int
    namespace: subprocess.Popen[str]
    server: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        """The user's home there, a small disk in memory, as seen from here."""
        return Path(f"/proc/{self.namespace.pid}/root{self.work}", "root", "home", "pi")

    @property
    def deployed(self) -> Path:
        """Where edgegolf puts everything, as seen from here."""
        return self.home / ".local/share/edgegolf"

    def run(self, script: str) -> None:
        """Run a shell script inside, as its owner would."""
        subprocess.run(["sh", self.work / "enter"], env={"SSH_ORIGINAL_COMMAND": script, **PATH},
                       check=True)  # fmt: skip

    def kill_server(self) -> None:
        """End the server and its connections, not what they have started, without a word."""
        server = psutil.Process(self.server.pid)
        for process in [server, *server.children(recursive=True)]:
            if process.name().startswith("sshd"):
                process.kill()
        self.server.wait()

    def start_server(self) -> None:
        """Start the server again, on the same port."""
        self.server = start_server(self.work, self.port)


PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def prepare_host() -> None:
    """Install the Debian packages that the stand-in needs; only as root."""
    missing = [
        name
        for command, name in HOST_PACKAGES.items()
        if not shutil.which(command, path=PATH["PATH"])
    ]
    if missing:
        # In run level 1 Debian's packages do not start their services.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], env=environment, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip


@contextmanager
def stand_in(board: Board, work: Path) -> Iterator[Pi]:
    """A Raspberry Pi that runs until the end of the block; its files are below `work`."""
    architecture = board.architecture
    trees = [
        debian_tree(architecture, USERLAND),
        debian_tree(architecture, PACKAGES + EXTRA_PACKAGES[architecture]),
    ]
    for name in ("root", "upper", "overlay"):
        (work / name).mkdir(parents=True)
    write_files(pi_files(board), work / "hardware")
    (work / "enter.namespace").write_text(ENTER)
    namespace = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", work / "enter.namespace",
         work, ":".join(map(str, trees)), registration(architecture)],
        stdout=subprocess.PIPE, text=True, env=PATH,
    )  # fmt: skip
    try:
        assert namespace.stdout is not None
        assert namespace.stdout.readline() == "ready\n"
        write_server_files(work, namespace.pid, board)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pi = Pi(work, port, namespace, start_server(work, port))
        try:
            yield pi
        finally:
            pi.kill_server()
    finally:
        namespace.kill()
        namespace.wait()


def pi_files(board: Board) -> dict[str, str]:
    """What a Pi's kernel and firmware tell, beyond what the board's files do."""
    cpu = "sys/devices/system/cpu/cpu0/cpufreq"
    zone = "sys/class/thermal/thermal_zone0"
    return {
        **hardware_files(board),
        "sys/firmware/devicetree/base/model": f"{board.model}\0",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
        f"{cpu}/scaling_governor": "ondemand\n",
        f"{cpu}/scaling_cur_freq": f"{board.clock_khz[1]}\n",
        f"{zone}/type": "cpu-thermal\n",
        f"{zone}/temp": "48312\n",
    }


def registration(architecture: str) -> str:
    """The line that makes the kernel start the architecture's programs through QEMU."""
    bits, machine = ELF[architecture]
    magic = bytes([0x7F, *b"ELF", bits, 1, 1, *[0] * 9, 2, 0, machine, 0])
    mask = bytes([0xFF] * 7 + [0] + [0xFF] * 8 + [0xFE, 0xFF, 0xFF, 0xFF])
    emulator = shutil.which(EMULATORS[architecture], path=PATH["PATH"])
    escaped = ["".join(f"\\x{byte:02x}" for byte in each) for each in (magic, mask)]
    return f":{architecture}:M::{escaped[0]}:{escaped[1]}:{emulator}:F"


def write_server_files(work: Path, namespace: int, board: Board) -> None:
    """Keys and configuration of the server, and the script that its commands go through."""
    environment = {**PATH, "HOME": "/home/pi", "QEMU_CPU": board.cpu, "LANG": "C.UTF-8"}
    variables = [shlex.quote(f"{name}={value}") for name, value in environment.items()]
    (work / "enter").write_text(
        f"exec nsenter --preserve-credentials --user --mount --target {namespace} "
        f"chroot {shlex.quote(str(work / 'root'))} /usr/bin/env -i {' '.join(variables)} "
        '/bin/sh -c \'cd && exec /bin/sh -c "$1"\' sh "$SSH_ORIGINAL_COMMAND"\n'
    )
    for name in ("host_key", "key", "wrong_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / name], check=True
        )
    (work / "sshd_config").write_text(
        "ListenAddress 127.0.0.1\n"
        f"HostKey {work}/host_key\n"
        f"AuthorizedKeysFile {work}/key.pub\n"
        f"ForceCommand sh {work}/enter\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )


def start_server(work: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the SSH server in a process of its own and wait until it listens."""
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=PATH["PATH"])
    assert sshd is not None
    with (work / "sshd.log").open("ab") as log:
        server = subprocess.Popen(
            [sshd, "-D", "-e", "-f", work / "sshd_config", "-p", str(port)],
            stderr=log,
        )  # fmt: skip
    for _ in range(500):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return server
        assert server.poll() is None, (work / "sshd.log").read_text()
        time.sleep(0.02)
    raise AssertionError("the SSH server does not listen")
