"""Model files as they are laid out on a device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegolf.bench.inspect_file import weight_files
from edgegolf.cards import CARD_NAME, read_card
from edgegolf.deploy.contents import Content, content_of_file
from edgegolf.runtimes.registry import check_file, runtimes_for


@dataclass(frozen=True)
class ModelFile:
    """A model file here and what it is called there, such as `tight_resnet/int8.tflite`."""

    path: Path
    name: str
    content: Content


@dataclass(frozen=True)
class Tree:
    """A folder of models with what belongs to them: weights kept apart, and their cards."""

    models: tuple[ModelFile, ...]  # each model
    files: dict[str, Content]  # every file of the folder by its name there

    @property
    def identifier(self) -> str:
        """The same for the same files."""
        return digest(sorted((name, content.sha256) for name, content in self.files.items()))


def digest(value: object) -> str:
    """The SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def arrange(paths: Iterable[Path]) -> Tree:
    """Lay files out: those of one folder here stay together there.

    Raises:
        EdgegolfError: A file cannot be read, or is no model file, or its card is not valid.
    """
    labels: dict[Path, str] = {}
    models: list[ModelFile] = []
    files: dict[str, Content] = {}
    for path in dict.fromkeys(paths):
        runtimes_for(path)
        check_file(path)
        folder = path.parent.resolve()
        label = labels.setdefault(folder, _label(folder, list(labels.values())))
        content = content_of_file(path)
        models.append(ModelFile(path, f"{label}/{path.name}", content))
        files[models[-1].name] = content
        for weights in weight_files(path):
            files[f"{label}/{weights.relative_to(folder).as_posix()}"] = content_of_file(weights)
        if read_card(path.parent) is not None:
            files[f"{label}/{CARD_NAME}"] = content_of_file(path.parent / CARD_NAME)
    return Tree(tuple(models), files)


def _label(folder: Path, taken: Sequence[str]) -> str:
    name = folder.name or "models"
    number = 1
    while name in taken:
        number += 1
        name = f"{folder.name}-{number}"
    return name
