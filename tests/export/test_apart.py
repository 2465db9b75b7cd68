"""A stranger's model that never answers ends an export soon, with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgegolf.export import export_model
from edgegolf.export.model_source import Apart
from edgegolf.export.samples import Samples
from edgegolf.runtimes.child import UnfinishedError

# Ends for samples without a number above 0.
ENDLESS = """<ir_version: 8, opset_import: ["" : 17]>
endless (float[1, 4] x) => (float[1, 4] y) {
   most = ReduceMax <keepdims = 0> (x)
   none = Constant <value_float = 0.0> ()
   goes = Greater (most, none)
   y = Loop ("", goes, x) <body = turn (int64 i, bool c, float[1, 4] a) => (bool d, float[1, 4] b) {
      b = Add (a, a)
      d = Identity (c)
   }>
}"""


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    path = tmp_path / "endless.onnx"
    path.write_bytes(onnx.parser.parse_model(ENDLESS).SerializeToString())
    return path


@pytest.mark.parametrize("ends_for", [0, 1])
def test_a_model_without_end_is_refused_in_time(endless: Path, ends_for: int) -> None:
    """Also where the first sample has an answer."""
    samples = np.ones((3, 4), np.float32)
    samples[:ends_for] = 0
    np.savez(endless.with_name("x.npz"), x=samples)
    with pytest.raises(UnfinishedError, match=r"endless\.onnx: running the model: not") as raised:
        export_model(endless, endless.parent / "out", endless.with_name("x.npz"), limit=1)
    assert "loop without end" in raised.value.hint
    assert not (endless.parent / "out").exists()


def test_what_never_ended_is_asked_no_more(endless: Path) -> None:
    found = []
    with Apart(endless, limit=1) as model:
        for _ in range(2):
            with pytest.raises(UnfinishedError) as raised:
                model.predict(Samples((np.ones((1, 4), np.float32),)))
            found.append(raised.value)
        assert model.describe().files == ("x",)
    assert found[0] is found[1]
