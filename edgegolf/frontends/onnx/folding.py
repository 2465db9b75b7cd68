"""What a file computes from constants alone, as exporters compute shapes and golf weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.kernels.call import MAXIMUM_ELEMENTS
from edgegolf.ir.tensor import Array

if TYPE_CHECKING:
    from onnx import NodeProto

# Operators whose work is as large as what they read and write.
_FOLDED = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Concat", "Constant",
    "ConstantOfShape", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Equal", "Exp",
    "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul",
    "Neg", "Not", "Or", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Shape", "Sign",
    "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Trilu",
    "Unsqueeze", "Where", "Xor", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
})  # fmt: skip
MAXIMUM_FOLDED = 2 * MAXIMUM_ELEMENTS  # elements of all results together


class Folder:
    """Evaluates nodes with the `onnx` package's reference implementation, within bounds."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.left = MAXIMUM_FOLDED

    def fold(self, node: NodeProto, inputs: Sequence[Array | None]) -> list[Array] | None:
        """The results of a node that reads constants only; None if it is none that is folded.

        Raises:
            EdgegolfError: They are too large, or the node is not valid.
        """
        if node.domain not in ("", "ai.onnx") or node.op_type not in _FOLDED:
            return None
        self.left -= self._elements(node, inputs)
        if self.left < 0:
            raise EdgegolfError("its constants unfold to an absurd size")
        from onnx.reference import ReferenceEvaluator

        given = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(node, opsets={"": self.opset}).run(None, given)
        return [np.asarray(result) for result in results]

    def _elements(self, node: NodeProto, inputs: Sequence[Array | None]) -> int:
        """How many elements the results have, told by their shapes before they are computed."""
        import onnx

        known = {name: a for name, a in zip(node.input, inputs, strict=True) if a is not None}
        types = {
            name: onnx.helper.make_tensor_type_proto(
                onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in known.items()
        }
        small = {
            name: onnx.numpy_helper.from_array(array)
            for name, array in known.items()
            if array.size <= 1024
        }
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, self.opset, ""),
            node,
            types,
            small,
            opset_imports=[onnx.helper.make_opsetid("", self.opset)],
            ir_version=10,
        )
        total = 0
        for kind in found.values():
            sizes = kind.tensor_type.shape.dim
            if not kind.tensor_type.HasField("shape") or not all(
                size.HasField("dim_value") and size.dim_value >= 0 for size in sizes
            ):
                raise EdgegolfError("the size of its result cannot be told")
            total += prod(size.dim_value for size in sizes)
        return total
