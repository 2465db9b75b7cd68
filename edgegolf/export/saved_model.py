"""TensorFlow's SavedModel as a float TFLite file, without running what it may hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.quiet import import_tensorflow, silenced
from edgegolf.runtimes.session import one_line

# Operations with an effect that loading and converting need: variables, and reading them from the
# model's own checkpoint. Others with an effect may write files, call Python or reach the network.
HARMLESS = {
    "AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "NoOp", "PartitionedCall",
    "Placeholder", "ReadVariableOp", "RestoreV2", "SaveV2", "ShardedFilename",
    "StatefulPartitionedCall", "StatelessWhile", "VarHandleOp", "VarIsInitializedOp", "While",
    "If", "StaticRegexFullMatch",
}  # fmt: skip


def convert(folder: Path) -> bytes:
    """What TensorFlow's converter makes of the signature `serving_default`, in float32.

    Raises:
        EdgegolfError: It holds an operation that could do harm, is damaged, or TFLite lacks
            something in it.
    """
    tensorflow = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for operation in sorted(set(_with_effects(tensorflow, folder)) - HARMLESS):
        raise EdgegolfError(
            f"{folder} holds the operation {operation}, which may do more than compute",
            hint="export the model itself: model.save('x.keras')",
        )
    try:
        with silenced():
            # With its variables as constants: those of Keras 3's models would else be left open.
            loaded = tensorflow.saved_model.load(str(folder))
            frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
            converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen], loaded)
            return bytes(converter.convert())
    except KeyError:
        raise EdgegolfError(
            f"{folder} has no signature serving_default",
            hint="export the model itself: model.save('x.keras')",
        ) from None
    except Exception as error:  # of any type
        raise EdgegolfError(
            f"{folder} cannot be converted to TFLite: {one_line(error)[:300]}",
            hint="export the model itself: model.save('x.keras')",
        ) from None


def _with_effects(tensorflow: Any, folder: Path) -> Iterator[str]:
    """Operations that do more than compute their results, or that TensorFlow does not know."""
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(read_bounded(folder / "saved_model.pb"))
    except Exception:  # of any type
        raise EdgegolfError(f"{folder}/saved_model.pb is damaged") from None
    for meta in saved.meta_graphs:
        graph = meta.graph_def
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                known = op_def_registry.get(node.op)
                if known is None or known.is_stateful:
                    yield node.op
