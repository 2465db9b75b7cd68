"""SSH servers in this process, for devices that answer in odd ways."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

from edgegolf.deploy.host import Host, parse_host

Answer = Callable[["asyncssh.SSHServerProcess[bytes]"], None]


def says(output: bytes, error: bytes = b"", code: int = 0) -> Answer:
    """Answer every command with these bytes."""

    def answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(output)
        process.stderr.write(error)
        process.exit(code)

    return answer


@contextmanager
def device(answer: Answer, home: Path, password: str | None = None) -> Iterator[Host]:
    """A server that answers every command in the same way.

    Args:
        answer: To a command.
        home: A user's home folder, which gets a key and a known_hosts file for it.
        password: Lets in who says it; None lets the key in.
    """
    key = asyncssh.generate_private_key("ssh-ed25519")
    (home / ".ssh").mkdir()
    key.write_private_key(home / "key")
    public = key.export_public_key().decode()
    loop = asyncio.new_event_loop()

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return password is not None

        def validate_password(self, username: str, said: str) -> bool:
            return said == password

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], encoding=None,
            process_factory=answer,
            authorized_client_keys=None if password else asyncssh.import_authorized_keys(public),
        )  # fmt: skip

    server = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    port = server.get_port()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    try:
        yield parse_host(f"somebody@127.0.0.1:{port}", key=home / "key")
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
