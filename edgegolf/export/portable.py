"""Golfs ONNX files so that a form that others than onnxruntime read is never much larger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgegolf.export.measuring import Draft
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx

COST = 1.1  # the most that a portable form takes, in bytes of a file that export writes


def golfed_drafts(drafts: Sequence[Draft], portable: bool) -> list[Draft]:
    """What is to be measured of ONNX files that were written from a graph.

    Args:
        drafts: Some of them compute in float32, with operators of the standard alone; those that
            compute in integers need onnxruntime's own.
        portable: Whether all shall be readable for others.

    Returns:
        They, golfed; in place of one that is smaller than the smallest portable form by more than
        `COST`, its own portable form, if it has one.
    """
    forms = {
        index: replace(draft, data=golf_onnx(draft.data, Keep(portable=True)).data)
        for index, draft in enumerate(drafts)
        if draft.compute == "int8-weights"
    }
    if portable:
        return list(forms.values())
    smallest = min((len(form.data) for form in forms.values()), default=0)
    found = []
    for index, draft in enumerate(drafts):
        golfed = replace(draft, data=golf_onnx(draft.data, Keep()).data)
        if len(golfed.data) * COST >= smallest:
            found.append(golfed)
        elif index in forms:
            found.append(forms[index])
    return found
