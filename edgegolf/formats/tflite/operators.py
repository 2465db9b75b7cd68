"""What counting has to know of TFLite's operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

#: The inputs of each operator that hold weights or biases.
PARAMETER_INPUTS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
    "CONV_3D": (1, 2),
    "CONV_3D_TRANSPOSE": (1, 3),
    "BATCH_MATMUL": (0, 1),
    "RNN": tuple(range(1, 4)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": tuple(range(1, 4)),
    "SVDF": tuple(range(1, 4)),
    "LSTM": tuple(range(1, 18)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 18)),
    "RESHAPE": (),
}

#: Where the operators with a bias take it.
BIAS_INPUTS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}

#: Multiply-accumulates from the shapes of the inputs and of the output.
MACS: dict[str, Callable[[Sequence[Sequence[int]], Sequence[int]], int]] = {
    "CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:]),
    "DEPTHWISE_CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:3]),
    "FULLY_CONNECTED": lambda inputs, output: prod(output) * prod(inputs[1][-1:]),
    "CONV_3D": lambda inputs, output: prod(output) * prod(inputs[1][:4]),
    "TRANSPOSE_CONV": lambda inputs, output: prod(inputs[2]) * prod(inputs[1][:3]),
    "CONV_3D_TRANSPOSE": lambda inputs, output: prod(inputs[2]) * prod(inputs[1][:4]),
    "BATCH_MATMUL": lambda inputs, output: prod(output) * prod(inputs[0][-1:]),
    "SVDF": lambda inputs, output: prod(inputs[0][:-1]) * (prod(inputs[1]) + prod(inputs[2])),
}

#: These multiply each vector of their input by all their constant matrices.
RECURRENT = {"RNN", "LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM"}

#: Their multiplications are not counted here: they would need more than shapes.
UNKNOWN_WORK = {
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_CUSTOM_CALL",
    "DELEGATE",
}
