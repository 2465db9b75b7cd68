"""Which machine, as a user names it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from edgegolf.errors import EdgegolfError

# A name of ~/.ssh/config, a host name or an address; no dash first, which would be an option.
_HOST = re.compile(
    r"(?:(?P<user>[^@\s:/-][^@\s:/]*)@)?"
    r"(?:\[(?P<address>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^@\s:/\[\]-][^@\s:/\[\]]*))"
    r"(?::(?P<port>\d{1,5}))?"
)
DEFAULT_FOLDER = "~/.local/share/edgegolf"


@dataclass(frozen=True)
class Host:
    """A machine and how to reach it. What is None, `~/.ssh/config` says."""

    name: str  # as the user wrote it, such as `pi@raspberrypi.local`
    address: str  # A host name, an address, or a name in `~/.ssh/config`
    user: str | None = None  # who to be there
    port: int | None = None  # of its SSH server
    key: Path | None = None  # A private key file
    folder: str = DEFAULT_FOLDER  # where everything is put there; `~` is the user's home there
    python: str = "python3"  # the Python there that environments are made with

    def __str__(self) -> str:
        """As the user wrote it."""
        return self.name


def parse_host(
    text: str,
    port: int | None = None,
    key: Path | None = None,
    folder: str | None = None,
    python: str | None = None,
) -> Host:
    """The host that `[USER@]HOST[:PORT]` names; an IPv6 address goes in brackets.

    Raises:
        EdgegolfError: It is nothing like that, or the key file does not exist.
    """
    match = _HOST.fullmatch(text)
    if match is None or (match["port"] and not 1 <= int(match["port"]) <= 65535):
        raise EdgegolfError(f"{text!r} is no host", hint="write pi@raspberrypi.local")
    if match["port"] and port not in (None, int(match["port"])):
        raise EdgegolfError(f"{text!r} and --port {port} name two ports")
    if key is not None and not key.is_file():
        raise EdgegolfError(f"the key {key} does not exist", hint="ssh-keygen makes one")
    host = Host(
        name=text,
        address=match["address"] or match["name"],
        user=match["user"],
        port=int(match["port"]) if match["port"] else port,
        key=key,
    )
    return replace(host, folder=folder or host.folder, python=python or host.python)
