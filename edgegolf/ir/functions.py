"""The real functions of one variable, as TFLite's kernels compute them in float32.

Exponentials and the like are computed in float64 and rounded, so that no CPU gives other bits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, pi, sqrt
from typing import Any

import numpy as np

from edgegolf.ir import ops
from edgegolf.ir.tensor import Array

_erfc = np.frompyfunc(erfc, 1, 1)


def _rounded(function: Callable[[Array], Array], numbers: Array) -> Array:
    """A function in float64, rounded to float32."""
    return function(numbers.astype(np.float64)).astype(np.float32)


def _gelu(op: Any, x: Array) -> Array:
    half = np.float32(0.5) * x
    if op.approximate:
        cubic = x + np.float32(0.044715) * x * x * x
        return half * (1 + _rounded(np.tanh, np.float32(sqrt(2 / pi)) * cubic))
    return half * _erfc(x * np.float32(-sqrt(0.5))).astype(np.float32)


#: Of an operator and float32 numbers.
FUNCTIONS: dict[type[ops.Op], Callable[[Any, Array], Array]] = {
    ops.Abs: lambda op, x: np.abs(x),
    ops.Ceil: lambda op, x: np.ceil(x),
    ops.Cos: lambda op, x: _rounded(np.cos, x),
    ops.ELU: lambda op, x: np.where(x < 0, _rounded(np.expm1, x), x),
    ops.Exp: lambda op, x: _rounded(np.exp, x),
    ops.Floor: lambda op, x: np.floor(x),
    ops.GELU: _gelu,
    ops.HardSwish: lambda op, x: x * np.clip(x + np.float32(3), 0, 6) / np.float32(6),
    ops.Log: lambda op, x: _rounded(np.log, x),
    ops.Logistic: lambda op, x: 1 / (1 + _rounded(np.exp, -x)),
    ops.Neg: lambda op, x: -x,
    ops.Round: lambda op, x: np.rint(x),
    ops.Rsqrt: lambda op, x: 1 / np.sqrt(x),
    ops.Sign: lambda op, x: np.sign(x),
    ops.Sin: lambda op, x: _rounded(np.sin, x),
    ops.Sqrt: lambda op, x: np.sqrt(x),
    ops.Square: lambda op, x: x * x,
    ops.Tanh: lambda op, x: _rounded(np.tanh, x),
}
