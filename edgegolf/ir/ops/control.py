"""Operators that run graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegolf.ir.ops.base import Op

if TYPE_CHECKING:
    from edgegolf.ir.graph import Graph


@dataclass(frozen=True)
class Loop(Op):
    """A graph whose outputs are its next inputs, run a known number of times.

    The node's inputs are the first inputs of the body, its outputs the last outputs.
    """

    body: Graph
    iterations: int


@dataclass(frozen=True)
class While(Op):
    """A graph whose outputs are its next inputs, run while another graph of them says true."""

    condition: Graph
    body: Graph
