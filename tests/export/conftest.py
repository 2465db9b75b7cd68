from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgegolf.data import Dataset, load_dataset
from edgegolf.export import measuring


@pytest.fixture(scope="module")
def hasty() -> Iterator[None]:
    """Hardly any time for latencies, where no test asks how exactly they are known."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("THOROUGH", "QUICK"):
            patch.setattr(measuring, name, measuring.Pace(0.0002, 0.0))
        yield


@pytest.fixture(scope="session")
def digits() -> Dataset:
    pytest.importorskip("sklearn")
    return load_dataset("digits")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """TightResNet on the embedded digits; only its last layer is trained, by least squares."""
    pytest.importorskip("tensorflow")
    import keras
    from export_nets import tight_resnet

    keras.utils.set_random_seed(1)
    model = tight_resnet()
    split = digits.split("train")
    flat = keras.Model(model.inputs, model.layers[-2].output)
    features = flat.predict(split.images / np.float32(255), verbose=0)
    features = np.column_stack([features, np.ones(len(features))])
    targets = 10 * np.eye(10)[split.labels]
    ridge = features.T @ features + 1.0 * np.eye(features.shape[1])
    solution = np.linalg.solve(ridge, features.T @ targets)
    model.layers[-1].set_weights([solution[:-1], solution[-1]])
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    model.save(path)
    return path
