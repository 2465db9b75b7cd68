"""SOFTMAX: exponentials of differences from a table, the rest as the interpreter computes it."""

from __future__ import annotations

import numpy as np

from edgegolf.backends.c.layer import Layer, NotInCError, plus
from edgegolf.ir import Node
from edgegolf.ir.kernels.softmax import exponentials
from edgegolf.ir.lowering import lower

# Beyond it a shift would be by more than 31 bits.
_MOST_CHANNELS = 511


def softmax(layer: Layer, node: Node) -> None:
    """The whole result."""
    channels = node.output.shape[-1]
    if channels > _MOST_CHANNELS:
        raise NotInCError(f"Softmax over {channels} classes")
    low, high = node.output.limits
    x = layer.read(node.source)
    table = np.trim_zeros(exponentials(-np.arange(256), lower(node).requants[0]), "b")
    power = layer.element(table, "power", "d")
    share = f"clamp(shifted(multiply(z, {power}), 35 - n){plus(low)}, {low}, {high})"
    layer.add(
        f"for (unsigned r = 0; r < {node.output.elements // channels}; r++) {{",
        f"int32_t most = {node.source.limits[0]}, sum = 0;",
        f"for (unsigned o = 0; o < {channels}; o++) if ({x}[o] > most) most = {x}[o];",
        f"for (unsigned o = 0; o < {channels}; o++) {{",
        f"const int32_t d = most - {x}[o];",
        f"if (d < {len(table)}) sum += shifted({power}, 12);",
        "}",
        # The reciprocal of the sum: Newton's method from 48/17 - 32/17 x.
        "int n = 0;",
        "while (((uint32_t)sum << n & 0x80000000u) == 0) n++;",
        "const int32_t half = (int32_t)((uint32_t)sum << n >> 1);",
        "int32_t z = 1515870810 + multiply(half, -1010580540);",
        "for (int i = 0; i < 3; i++) z += multiply(z, ((int32_t)1 << 29) - multiply(half, z)) * 4;",
        "z = z >= (int32_t)1 << 30 ? INT32_MAX : z * 2;",
        f"for (unsigned o = 0; o < {channels}; o++) {{",
        f"const int32_t d = most - {x}[o];",
        f"y[o] = ({node.output.dtype}_t)(d < {len(table)} ? {share} : {low});",
        "}",
        f"{x} += {channels};",
        f"y += {channels};",
        "}",
    )
    layer.lags[node.source] = 0
