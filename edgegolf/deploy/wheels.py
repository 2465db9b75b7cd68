"""The packages of a device: what it needs, as wheels that fit it."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

import edgegolf
from edgegolf.deploy.contents import Content, content_of_bytes, content_of_file
from edgegolf.deploy.device import Device
from edgegolf.errors import EdgegolfError

OLDEST_GLIBC = 17  # minor version of manylinux2014
MAXIMUM_METADATA_BYTES = 1 << 24
MAXIMUM_ROUNDS = 20  # dependencies of dependencies
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
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = distribution("edgegolf")
    information = f"edgegolf-{found.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        files[f"{information}/{name}"] = (found.read_text(name) or "").encode()
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


def requirements(device: Device, extras: Iterable[str] = ()) -> tuple[Requirement, ...]:
    """What edgegolf itself needs on a device, without what others of it need."""
    lines = distribution("edgegolf").requires or []
    return _applying(lines, device, extras)


def _applying(
    lines: Iterable[str], device: Device, extras: Iterable[str] = ()
) -> tuple[Requirement, ...]:
    environment = marker_environment(device)
    found = {}
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
        ):
            requirement.marker = None
            found[str(requirement)] = requirement
    return tuple(found[key] for key in sorted(found))


def platforms(device: Device) -> tuple[str, ...]:
    """The platforms whose wheels run on a device, newest first."""
    major, minor = device.glibc
    names = [f"manylinux_{major}_{each}" for each in range(minor, OLDEST_GLIBC - 1, -1)]
    return tuple(f"{name}_{device.architecture}" for name in (*names, "manylinux2014", "linux"))


@dataclass(frozen=True)
class Wheel:
    """A wheel in a folder here."""

    path: Path
    name: str
    version: Version
    tags: frozenset[Tag]

    def satisfies(self, requirement: Requirement, supported: frozenset[Tag]) -> bool:
        """Whether it is what is required, and runs on a device with these tags."""
        return (
            self.name == canonicalize_name(requirement.name)
            and requirement.specifier.contains(self.version, prereleases=None)
            and not self.tags.isdisjoint(supported)
        )

    def requires(self) -> list[str]:
        """What its own metadata requires."""
        with zipfile.ZipFile(self.path) as archive:
            (name,) = [
                each
                for each in archive.namelist()
                if len(PurePosixPath(each).parts) == 2 and each.endswith(".dist-info/METADATA")
            ]
            with archive.open(name) as file:
                metadata = BytesHeaderParser().parsebytes(file.read(MAXIMUM_METADATA_BYTES))
        return metadata.get_all("Requires-Dist") or []


def fetch_wheels(
    wanted: Iterable[Requirement], device: Device, folder: Path
) -> tuple[Content, ...]:
    """Wheels for requirements and all that those require, fetched where the folder lacks them.

    Not left to pip's resolver: it takes the environment markers of the machine that it runs on.

    Raises:
        EdgegolfError: A wheel cannot be had, or a file in the folder is no wheel.
    """
    supported = _supported_tags(device)
    chosen: dict[Path, Wheel] = {}
    pending = list(wanted)
    for _ in range(MAXIMUM_ROUNDS):
        missing = [item for item in pending if _best(folder, item, supported) is None]
        if missing:
            _download(missing, device, folder)
        following: list[Requirement] = []
        for item in pending:
            wheel = _best(folder, item, supported)
            if wheel is None:
                raise EdgegolfError(
                    f"there is no wheel of {item} for {device.architecture} and Python "
                    f"{device.python}"
                )
            if wheel.path not in chosen or item.extras:
                chosen[wheel.path] = wheel
                following += _applying(_metadata(wheel), device, item.extras)
        if not following:
            return tuple(content_of_file(path) for path in sorted(chosen))
        pending = following
    raise EdgegolfError("the requirements of the packages have no end")


def unpacked_bytes(wheels: Iterable[Content]) -> int:
    """How much wheels take when they are installed."""
    total = 0
    for wheel in wheels:
        if isinstance(wheel.source, Path):
            with zipfile.ZipFile(wheel.source) as archive:
                total += sum(entry.file_size for entry in archive.infolist())
    return total


def _metadata(wheel: Wheel) -> list[str]:
    try:
        return wheel.requires()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise EdgegolfError(
            f"{wheel.path} is no wheel: {error}", hint="delete it, and it is fetched again"
        ) from None


def _supported_tags(device: Device) -> frozenset[Tag]:
    version, names = device.python_version, platforms(device)
    interpreter = f"cp{version[0]}{version[1]}"
    return frozenset(
        (
            *cpython_tags(version, [interpreter], names),
            *compatible_tags(version, interpreter, names),
        )
    )


def _best(folder: Path, requirement: Requirement, supported: frozenset[Tag]) -> Wheel | None:
    fitting = [wheel for wheel in _wheels(folder) if wheel.satisfies(requirement, supported)]
    return max(fitting, key=lambda wheel: (wheel.version, wheel.path), default=None)


def _wheels(folder: Path) -> list[Wheel]:
    found = []
    for path in folder.glob("*.whl"):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        found.append(Wheel(path, name, version, tags))
    return found


def _download(missing: Iterable[Requirement], device: Device, folder: Path) -> None:
    major, minor = device.python_version
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={major}.{minor}", f"--dest={folder}"),
        *(f"--platform={name}" for name in platforms(device)),
        *("--", *sorted({str(item) for item in missing})),
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise EdgegolfError(f"{folder} cannot be written: {error.strerror}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines
        raise EdgegolfError(
            f"the wheels for {device.architecture} and Python {device.python} cannot be had: "
            f"{(errors or ['pip says nothing'])[-1]}",
            hint="go online once, or put them into the folder of --wheels",
        )
