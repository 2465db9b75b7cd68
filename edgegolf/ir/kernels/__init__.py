"""One kernel for each operator, for real and for quantized tensors."""

from edgegolf.ir.kernels import elementwise, movement, pooling, products, resizing, softmax
from edgegolf.ir.kernels.call import Call, compute
