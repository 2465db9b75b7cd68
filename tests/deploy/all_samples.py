"""Samples of many models, in a process where TensorFlow was never imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgegolf.deploy.sample import Sample, take_sample


def all_samples(cases: Sequence[tuple[Path, str]]) -> list[Sample]:
    return [take_sample(path, runtime, None) for path, runtime in cases]
