from __future__ import annotations

import pytest

from edgegolf.deploy.host import DEFAULT_FOLDER, parse_host
from edgegolf.errors import EdgegolfError


@pytest.mark.parametrize(
    ("text", "user", "address", "port"),
    [
        ("pi@raspberrypi.local", "pi", "raspberrypi.local", None),
        ("pi", None, "pi", None),
        ("pi@10.0.0.7:2222", "pi", "10.0.0.7", 2222),
        ("pi@[fe80::1%eth0]:22", "pi", "fe80::1%eth0", 22),
        ("[::1]", None, "::1", None),
    ],
)
def test_hosts(text: str, user: str | None, address: str, port: int | None) -> None:
    host = parse_host(text)
    assert (host.user, host.address, host.port) == (user, address, port)
    assert (str(host), host.folder, host.python) == (text, DEFAULT_FOLDER, "python3")


@pytest.mark.parametrize(
    "text",
    ["", "@", "pi@", "-oProxyCommand=x", "pi@-x", "-x@pi", "a b", "pi@host:0", "pi@host:99999",
     "pi@host:", "::1", "a@b@c", "pi@host/x", "pi\n"],
)  # fmt: skip
def test_no_hosts(text: str) -> None:
    with pytest.raises(EdgegolfError, match="no host"):
        parse_host(text)


def test_one_port() -> None:
    assert parse_host("pi", port=2222).port == 2222
    with pytest.raises(EdgegolfError, match="two ports"):
        parse_host("pi:22", port=2222)
