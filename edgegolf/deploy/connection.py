"""One SSH connection: requests to the agent there, and the device's host key checked first."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import edgegolf
from edgegolf.deploy.host import Host
from edgegolf.errors import EdgegolfError, printable, require

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

CONNECT_SECONDS = 20
CLOSE_SECONDS = 5
# A connection that is silent for so long is lost, also where no packet says so.
KEEPALIVE_SECONDS, KEEPALIVES = 10, 3
PASSWORD_ATTEMPTS = 3
MAXIMUM_ANSWER_BYTES = 1 << 26
MAXIMUM_LINE_BYTES = 1 << 16
COMMAND_NOT_FOUND = (126, 127)  # of a POSIX shell


class ConnectionLostError(EdgegolfError):
    """The connection broke; the same command can be run again."""


class RefusedError(EdgegolfError):
    """The device did not do what it was asked for."""

    def __init__(self, message: str, hint: str, kind: str) -> None:
        """Take what the agent answered."""
        super().__init__(message, hint)
        self.kind = kind


def agent_program() -> bytes:
    """The agent and the modules that it imports, as one program."""
    package = Path(edgegolf.__file__).parent
    sources = {"edgegolf": "", "edgegolf.bench": ""}
    sources["edgegolf.bench.board"] = (package / "bench" / "board.py").read_text()
    agent = (package / "deploy" / "agent.py").read_text()
    return (
        "import sys, types\n"
        f"for name, source in {sources!r}.items():\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    exec(source, sys.modules[name].__dict__)\n"
        f"exec(compile({agent!r}, 'agent', 'exec'))\n"
    ).encode()


class Connection(AbstractContextManager["Connection"]):
    """An SSH connection to a device, closed at the end of a `with` block.

    Args:
        host: The device.

    Raises:
        EdgegolfError: It cannot be reached, its key is unknown or changed, or it lets nobody in.
    """

    def __init__(self, host: Host) -> None:
        """Connect."""
        require("asyncssh", extra="deploy")
        self.host = host
        self._loop = asyncio.new_event_loop()
        try:
            self._ssh = self._wait(_connect(host))
        except BaseException:
            self._loop.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Close the connection, also in the middle of something."""
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        closing = asyncio.gather(*tasks, return_exceptions=True)
        self._ssh.abort()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(closing, CLOSE_SECONDS)
            await asyncio.wait_for(self._ssh.wait_closed(), CLOSE_SECONDS)

    def ask(
        self,
        request: str,
        payload: Iterable[bytes] = (),
        tell: Callable[[str], None] = lambda line: None,
        **details: Any,
    ) -> dict[str, Any]:
        """Send one request to the device's agent; what it answers is not to be trusted.

        Args:
            request: The name of a function of `agent.py`.
            payload: Bytes that follow it.
            tell: Called with each line that the device prints while it works.
            **details: What the function takes.

        Raises:
            RefusedError: The device says why it cannot.
            ConnectionLostError: The connection broke.
            EdgegolfError: There is no such Python there.
        """
        line = {"request": request, "root": self.host.folder, **details}
        answer = self._wait(self._run(json.dumps(line).encode() + b"\n", payload, tell))
        if "error" in answer:
            raise RefusedError(
                f"{self.host}: {printable(answer['error'])}",
                printable(answer.get("hint", "")),
                str(answer.get("kind", "")),
            )
        return answer

    async def _run(
        self, request: bytes, payload: Iterable[bytes], tell: Callable[[str], None]
    ) -> dict[str, Any]:
        agent = agent_program()
        # Nothing but the name of the Python passes through the shell there.
        command = (
            f"{shlex.quote(self.host.python)} -I -c "
            f"'import sys;exec(sys.stdin.buffer.read({len(agent)}))'"
        )
        process = await self._ssh.create_process(command, encoding=None)
        sending = asyncio.ensure_future(self._send(process, agent, request, payload))
        telling = asyncio.ensure_future(_tell_lines(process.stderr, tell))
        try:
            output = await _read(process.stdout, MAXIMUM_ANSWER_BYTES)
            said = await telling
            await process.wait_closed()
        finally:
            for task in (sending, telling):
                task.cancel()
            await asyncio.gather(sending, telling, return_exceptions=True)
        return self._answer(output, process.exit_status, said)

    async def _send(
        self,
        process: asyncssh.SSHClientProcess[bytes],
        agent: bytes,
        request: bytes,
        payload: Iterable[bytes],
    ) -> None:
        process.stdin.write(agent + request)
        for block in payload:
            process.stdin.write(block)
            await process.stdin.drain()
        process.stdin.write_eof()

    def _answer(self, output: bytes, status: int | None, said: str) -> dict[str, Any]:
        host, python = self.host, self.host.python
        if status in COMMAND_NOT_FOUND:
            raise EdgegolfError(
                f"{host} has no Python called {python!r}",
                hint="on the device: sudo apt install python3 python3-venv; or name one by "
                "--python /usr/bin/python3.11",
            )
        lines = output.strip().splitlines()
        try:
            answer = json.loads(lines[-1] if lines else b"")
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return answer
        if status is None:
            raise _lost(host)
        raise EdgegolfError(
            f"{host}: {python} ended with status {status}: {said or 'it says nothing'}",
            hint="does `ssh HOST python3 --version` work?",
        )

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        with _explained(self.host):
            return self._loop.run_until_complete(work)


async def _read(stream: asyncssh.SSHReader[bytes], maximum: int) -> bytes:
    blocks, left = [], maximum
    while block := await stream.read(1 << 16):
        left -= len(block)
        if left < 0:
            raise EdgegolfError(f"the device sent more than {maximum:,} bytes as an answer")
        blocks.append(block)
    return b"".join(blocks)


async def _tell_lines(stream: asyncssh.SSHReader[bytes], tell: Callable[[str], None]) -> str:
    """Pass lines on as they come; returns the last one that says something."""
    rest, last = b"", ""
    while block := await stream.read(MAXIMUM_LINE_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            last = printable(line.decode(errors="replace")).strip() or last
            tell(last)
        rest = rest[-MAXIMUM_LINE_BYTES:]
    return printable(rest.decode(errors="replace")).strip() or last


async def _connect(host: Host) -> asyncssh.SSHClientConnection:
    import asyncssh

    options = await asyncssh.SSHClientConnectionOptions.construct(
        host=host.address,
        port=() if host.port is None else host.port,
        username=() if host.user is None else host.user,
        client_keys=() if host.key is None else [str(host.key)],
        passphrase=_ask_passphrase if _on_terminal() else None,
        connect_timeout=CONNECT_SECONDS,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVES,
    )
    check = _HostKeyCheck(host, options)
    with check.explained():
        return await asyncssh.connect(
            host.address,
            options=options,
            known_hosts=check.known,
            client_factory=lambda: _client(check),
        )


def _known_hosts_files(options: asyncssh.SSHClientConnectionOptions) -> list[Path]:
    """Those of `~/.ssh/config`, else the usual ones."""
    configured = options.known_hosts if isinstance(options.known_hosts, list) else []
    names = configured or ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"]
    return [Path(str(name)).expanduser() for name in names]


class _HostKeyCheck:
    """Whether to trust a host key that is not in known_hosts: only if a person says so."""

    def __init__(self, host: Host, options: asyncssh.SSHClientConnectionOptions) -> None:
        files = _known_hosts_files(options)
        self.host = host
        self.alias = options.host_key_alias
        self.known = [str(file) for file in files if file.is_file()] or b""
        self.file = files[0]  # where a new key is added
        self.refusal: EdgegolfError | None = None

    def accept(self, address: str, port: int, key: asyncssh.SSHKey) -> bool:
        import asyncssh

        pattern = address if port == 22 or self.alias else f"[{address}]:{port}"
        fingerprint = key.get_fingerprint()
        trusted, *_ = asyncssh.match_known_hosts(
            self.known, address, "", None if port == 22 else port
        )
        if trusted:
            self.refusal = EdgegolfError(
                f"the host key of {self.host} has changed: it is {fingerprint} now",
                hint="somebody may be in between. If the device was installed anew: "
                f"ssh-keygen -f {shlex.quote(str(self.file))} -R {shlex.quote(pattern)}",
            )
            return False
        line = f"{pattern} {key.export_public_key().decode().strip()}"
        line = " ".join(line.split()[:3])
        if _on_terminal() and self._ask(pattern, fingerprint):
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.file.open("a") as file:
                file.write(f"{line}\n")
            return True
        self.refusal = EdgegolfError(
            f"the host key of {self.host} is unknown: {fingerprint}",
            hint="if that is what the device says of itself (on the device: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), accept it: "
            f"echo {shlex.quote(line)} >> {shlex.quote(str(self.file))}",
        )
        return False

    def _ask(self, pattern: str, fingerprint: str) -> bool:
        print(
            f"The host key of {pattern} is unknown: {fingerprint}\n"
            "On the device, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub prints it.",
            file=sys.stderr,
        )
        print("Trust it from now on? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def explained(self) -> Iterator[None]:
        import asyncssh

        try:
            yield
        except asyncssh.HostKeyNotVerifiable:
            if self.refusal is None:  # a revoked key or certificate
                raise
            raise self.refusal from None


def _client(check: _HostKeyCheck) -> asyncssh.SSHClient:
    import asyncssh

    class Client(asyncssh.SSHClient):
        """Answers what the connection asks while it is made."""

        passwords = 0

        def validate_host_public_key(
            self, host: str, addr: str, port: int, key: asyncssh.SSHKey
        ) -> bool:
            return check.accept(host, port, key)

        def password_auth_requested(self) -> str | None:
            self.passwords += 1
            if not _on_terminal() or self.passwords > PASSWORD_ATTEMPTS:
                return None
            return getpass(f"Password of {check.host}: ")

    return Client()


def _ask_passphrase(file: str) -> str:
    return getpass(f"Passphrase of {file}: ")


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _lost(host: Host) -> ConnectionLostError:
    return ConnectionLostError(
        f"the connection to {host} was lost",
        hint="run the same command again: it goes on where it was",
    )


@contextmanager
def _explained(host: Host) -> Iterator[None]:
    """What SSH says, as one line and what to do."""
    import asyncssh

    try:
        yield
    except asyncssh.PermissionDenied:
        key = host.key or Path("~/.ssh/id_ed25519")
        port = f" -p {host.port}" if host.port else ""
        raise EdgegolfError(
            f"{host} does not let us in: no key or password was right",
            hint=f"give it your key: ssh-copy-id -i {key}.pub{port} {host}; a key with a "
            "passphrase must be in the agent: ssh-add",
        ) from None
    except asyncssh.KeyImportError as error:
        raise EdgegolfError(
            f"the key {host.key or ''} cannot be read: {printable(str(error))}",
            hint="a key with a passphrase must be in the agent: ssh-add",
        ) from None
    except (asyncssh.ConfigParseError, UnicodeError) as error:
        raise EdgegolfError(f"~/.ssh/config: {printable(str(error))}") from None
    except (asyncssh.ConnectionLost, asyncssh.ChannelOpenError, BrokenPipeError):
        raise _lost(host) from None
    except ConnectionResetError:
        raise _lost(host) from None
    except (TimeoutError, asyncio.TimeoutError):
        raise EdgegolfError(
            f"{host} does not answer", hint="is it on, and in the same network?"
        ) from None
    except asyncssh.Error as error:
        raise EdgegolfError(f"{host}: {printable(error.reason)}") from None
    except OSError as error:
        raise EdgegolfError(
            f"{host} cannot be reached: {printable(error.strerror or str(error))}",
            hint="is it on, in the same network, and SSH enabled (raspi-config)?",
        ) from None
