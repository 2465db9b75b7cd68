"""What TFLite calls the operators of which their inputs and results say all."""

from edgegolf.ir import ops

#: Those of one input.
UNARY: dict[str, type[ops.Op]] = {
    "ABS": ops.Abs, "CAST": ops.Cast, "CEIL": ops.Ceil, "COS": ops.Cos,
    "DEQUANTIZE": ops.Dequantize, "ELU": ops.ELU, "EXP": ops.Exp, "FLOOR": ops.Floor,
    "HARD_SWISH": ops.HardSwish, "LOG": ops.Log, "LOGICAL_NOT": ops.LogicalNot,
    "LOGISTIC": ops.Logistic, "LOG_SOFTMAX": ops.LogSoftmax, "NEG": ops.Neg,
    "QUANTIZE": ops.Quantize, "ROUND": ops.Round, "RSQRT": ops.Rsqrt, "SIGN": ops.Sign,
    "SIN": ops.Sin, "SQRT": ops.Sqrt, "SQUARE": ops.Square, "TANH": ops.Tanh,
}  # fmt: skip

#: Those of two.
BINARY: dict[str, type[ops.Op]] = {
    "EQUAL": ops.Equal, "GREATER": ops.Greater, "GREATER_EQUAL": ops.GreaterEqual,
    "LESS": ops.Less, "LESS_EQUAL": ops.LessEqual, "LOGICAL_AND": ops.LogicalAnd,
    "LOGICAL_OR": ops.LogicalOr, "MAXIMUM": ops.Maximum, "MINIMUM": ops.Minimum,
    "NOT_EQUAL": ops.NotEqual, "POW": ops.Pow, "PRELU": ops.PReLU,
    "SQUARED_DIFFERENCE": ops.SquaredDifference,
}  # fmt: skip
