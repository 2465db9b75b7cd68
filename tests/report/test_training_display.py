"""What a run shows where no terminal is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegolf.report.training_display import TrainingDisplay
from edgegolf.training import Job, Progress, Run

JOB = Job("linear", "digits", 1, None, Path("run"))


def test_one_line_an_epoch_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        for done, accuracy in ((5, None), (10, 0.5), (15, 0.5), (20, 0.75)):
            display.report(JOB, Progress(done, 20, accuracy))
        display.report(JOB, Run("linear", "digits", "", 1, {}, (), 0.75, 0.7))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "linear seed 1:  50%, validation 50.00%",
        "linear seed 1: 100%, validation 75.00%",
        "linear seed 1: test 70.00%, 0 s",
    ]
