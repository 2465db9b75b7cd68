"""The packages of a device: what it needs, as wheels that fit it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

import edgegolf
from edgegolf.deploy.contents import Content, content_of_bytes, content_of_file
from edgegolf.deploy.device import Device
from edgegolf.errors import EdgegolfError

OLDEST_GLIBC = 17  # minor version of manylinux2014
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the same files give the same wheel


def requires_python() -> str:
    """The Pythons that this edgegolf runs on."""
    return distribution("edgegolf").metadata["Requires-Python"]


def edgegolf_wheel() -> Content:
    """The edgegolf that runs here, however it was installed, as a wheel."""
    folder = Path(edgegolf.__file__).parent
    files = {
        f"edgegolf/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", "models"} & {*path.relative_to(folder).parts}
    }
    found = distribution("edgegolf")
    information = f"edgegolf-{found.version}.dist-info"
    # A checkout that was installed for development has its metadata as PKG-INFO.
    metadata = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    files[f"{information}/METADATA"] = metadata.encode()
    files[f"{information}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    return _pack(f"edgegolf-{found.version}", files)


def pip_wheel() -> Content:
    """The pip that is installed here, as a wheel: a device may have none.

    Raises:
        EdgegolfError: There is none, or not as pip itself installs it.
    """
    try:
        found = distribution("pip")
    except PackageNotFoundError:
        found = None
    files = {} if found is None else _installed_files(found)
    if "pip/__main__.py" not in files:
        raise EdgegolfError(
            "deploying needs pip in the environment that edgegolf runs in",
            hint=f"{sys.executable} -m ensurepip --upgrade",
        )
    return _pack(f"pip-{distribution('pip').version}", files)


def _installed_files(found: Distribution) -> dict[str, bytes]:
    return {
        path.as_posix(): Path(str(path.locate())).read_bytes()
        for path in found.files or ()
        if ".." not in path.parts
        and "__pycache__" not in path.parts
        and path.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    }


def _pack(name_and_version: str, files: Mapping[str, bytes]) -> Content:
    information = f"{name_and_version}.dist-info"
    wheel = "Wheel-Version: 1.0\nGenerator: edgegolf\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents = {**files, f"{information}/WHEEL": wheel.encode()}
    records = [f"{name},{_record(data)},{len(data)}\n" for name, data in sorted(contents.items())]
    contents[f"{information}/RECORD"] = "".join([*records, f"{information}/RECORD,,\n"]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, TIMESTAMP), data, zipfile.ZIP_DEFLATED)
    return content_of_bytes(f"{name_and_version}-py3-none-any.whl", packed.getvalue())


def _record(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


def marker_environment(device: Device) -> dict[str, str]:
    """What environment markers stand for on a device."""
    major, minor = device.python_version
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "implementation_name": "cpython",
        "implementation_version": device.python,
        "os_name": "posix",
        "platform_machine": device.architecture,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": device.python,
        "python_version": f"{major}.{minor}",
        "sys_platform": "linux",
        "extra": "",
    }


def requirements(device: Device) -> tuple[Requirement, ...]:
    """What edgegolf itself needs on a device, without what others of it need."""
    environment = marker_environment(device)
    found = {}
    for line in distribution("edgegolf").requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            found[str(requirement)] = requirement
    return tuple(found[key] for key in sorted(found))


def platforms(device: Device) -> tuple[str, ...]:
    """The platforms whose wheels run on a device, newest first."""
    major, minor = device.glibc
    names = [f"manylinux_{major}_{each}" for each in range(minor, OLDEST_GLIBC - 1, -1)]
    return tuple(f"{name}_{device.architecture}" for name in (*names, "manylinux2014", "linux"))


def fetch_wheels(
    wanted: Iterable[Requirement], device: Device, folder: Path
) -> tuple[Content, ...]:
    """Wheels for requirements and all that those require, fetched where the folder lacks them.

    Args:
        wanted: What to install.
        device: What the wheels must fit.
        folder: Keeps them for the next time; without internet they must be there.

    Raises:
        EdgegolfError: A wheel cannot be had, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as name:
            chosen = Path(name)
            if _download(wanted, device, chosen, folder, "--no-index"):
                problem = _download(wanted, device, chosen, folder)
                if problem:
                    raise EdgegolfError(
                        f"the wheels for {device.architecture} and Python {device.python} cannot "
                        f"be had: {problem}",
                        hint="go online once, or put them into the folder of --wheels",
                    )
            names = sorted(path.name for path in chosen.iterdir())
            for each in names:
                (chosen / each).replace(folder / each)
    except OSError as error:
        raise EdgegolfError(f"{folder} cannot be written: {error.strerror}") from None
    return tuple(content_of_file(folder / each) for each in names)


def unpacked_bytes(wheels: Iterable[Content]) -> int:
    """How much wheels take when they are installed."""
    total = 0
    for wheel in wheels:
        if isinstance(wheel.source, Path):
            with zipfile.ZipFile(wheel.source) as archive:
                total += sum(entry.file_size for entry in archive.infolist())
    return total


# pip takes platforms for wheels, but evaluates environment markers for the machine it runs on.
_PIP_FOR_DEVICE = """
import json, runpy, sys
from pip._vendor.packaging import markers
environment = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: environment
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def _download(
    wanted: Iterable[Requirement], device: Device, destination: Path, links: Path, *options: str
) -> str:
    """Let pip resolve for the device; returns what went wrong, or nothing."""
    major, minor = device.python_version
    command = [
        *(sys.executable, "-c", _PIP_FOR_DEVICE, json.dumps(marker_environment(device))),
        *("download", "--quiet", "--disable-pip-version-check", "--no-input", *options),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={major}.{minor}"),
        *(f"--platform={name}" for name in platforms(device)),
        *(f"--dest={destination}", f"--find-links={links}", "--", *map(str, wanted)),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return errors[0] if errors else "pip says nothing"
