from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgegolf.data.splitting import stratified_sample, without


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.data())
def test_each_class_keeps_its_share(values, data):
    labels = np.array(values, np.int64)
    count = data.draw(st.integers(1, len(labels)))
    sample = stratified_sample(labels, count)
    assert len(np.unique(sample)) == len(sample) == count
    for label in range(5):
        share = count * np.mean(labels == label)
        assert abs(np.sum(labels[sample] == label) - share) <= 1
    rest = without(np.arange(len(labels)), sample)
    assert sorted([*sample, *rest]) == list(range(len(labels)))


def test_the_sample_never_changes():
    labels = np.arange(20, dtype=np.int64) % 2
    assert stratified_sample(labels, 4).tolist() == [1, 2, 9, 18]
