"""Int8 ONNX files on an emulated x86 CPU without VNNI, which adds products in pairs in 16 bits."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgegolf.bench.system import describe_system
from edgegolf.data import load_dataset
from edgegolf.export import variants
from edgegolf.export.export import in_file
from edgegolf.export.measuring import outputs_of
from edgegolf.export.model import load_model
from edgegolf.export.model_source import Compiled
from edgegolf.export.samples import Samples
from edgegolf.frontends.keras import read_model
from edgegolf.runtimes import open_session

pytestmark = pytest.mark.arm
pytest.importorskip("tensorflow")

MODELS = Path(__file__).parents[2] / "models" / "mnist"
RUN = """\
import sys
sys.path[:] = sys.argv[4:]
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([session.run(None, {"input": i[None]})[0] for i in images]))
"""


def scores_without_vnni(path: Path, images: np.ndarray) -> np.ndarray:
    np.save(path.with_name("images.npy"), images)
    files = [path, path.with_name("images.npy"), path.with_name("scores.npy")]
    python = Path(sys.executable).resolve()
    subprocess.run(
        ["qemu-x86_64", "-cpu", "Haswell", python, "-c", RUN, *files, *sys.path],
        check=True,
        capture_output=True,
    )
    return np.asarray(np.load(files[-1]))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with this machine")
@pytest.mark.parametrize("net", ["tight_resnet_unshared", "cnn-2", "double_cnn-2"])
def test_activations_of_seven_bits_hardly_saturate(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not {"avx512_vnni", "avx_vnni"} & set(describe_system().vector_features):
        pytest.skip("this machine has no VNNI itself")
    assert shutil.which("qemu-x86_64")
    graph = variants.simplified(read_model(load_model(MODELS / net / "model.keras")))
    digits = load_dataset("digits")
    samples = Samples((digits.split("train").images[:200] / np.float32(255),))
    file = in_file(Compiled.as_it_is(graph), ".onnx")
    judge = partial(outputs_of, suffix=".onnx", laid_out=file)
    tuning = variants.Tuning(samples, samples, judge)
    images = digits.split("test").images[:50] / np.float32(255)
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def difference(name: str) -> float:
        path = tmp_path / name
        drafts = variants.onnx_drafts(graph, tuning)
        (data,) = (draft.data for draft in drafts if draft.name == "int8 per-channel")
        path.write_bytes(data)
        with open_session(path) as session:
            here = np.concatenate([session.run([image[None]])[0] for image in images])
        return float(np.abs(scores_without_vnni(path, images) - here).max())

    assert difference("int8.onnx") < 0.02
    monkeypatch.setattr(variants, "_unsaturated", lambda graph, found: found)
    assert difference("saturating.onnx") > 0.1
