"""The intermediate representation: tensors, operators, graphs, their arithmetic and interpreter."""

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import Op
from edgegolf.ir.tensor import QuantParams, Tensor
