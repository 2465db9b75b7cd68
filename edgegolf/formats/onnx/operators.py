"""What counting has to know of ONNX's operators and of onnxruntime's own."""

from __future__ import annotations

#: The inputs of each operator that hold weights or biases. Scales and zero points do not count.
PARAMETER_INPUTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "BatchNormalization": (1, 2, 3, 4),
    "DequantizeLinear": (0,),
    "QuantizeLinear": (0,),
    "Resize": (),
    "Upsample": (),
    "com.microsoft.FusedConv": (1, 2),
    "com.microsoft.QGemm": (0, 3, 6),
    "com.microsoft.QLinearAdd": (0, 3),
    "com.microsoft.QLinearMul": (0, 3),
}

#: Where the operators with a bias take it.
BIAS_INPUTS = {
    "Conv": 2,
    "ConvTranspose": 2,
    "QLinearConv": 8,
    "Gemm": 2,
    "com.microsoft.FusedConv": 2,
    "com.microsoft.QGemm": 6,
    "LSTM": 3,
    "GRU": 3,
    "RNN": 3,
}
