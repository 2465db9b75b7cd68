"""LSTM, GRU and RNN of ONNX as loops over the steps of their sequences.

https://onnx.ai/onnx/operators/onnx__LSTM.html (also GRU, RNN) has the equations and the order of
the gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgegolf.frontends.onnx.layout import Value
from edgegolf.frontends.onnx.operators import Call, NotCoveredError, Results
from edgegolf.ir import Graph, Node, Op, Tensor, ops
from edgegolf.ir.tensor import Array, Shape

_USUAL = {"GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh"), "RNN": ("tanh",)}
_REFUSED = ("clip", "input_forget", "layout")


@dataclass
class _Step:
    """The body of a loop in the making."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, op: Op, *inputs: Tensor, shape: Shape | None = None) -> Tensor:
        found = op.shape(inputs) if shape is None else shape
        assert found is not None
        self.nodes.append(Node(op, inputs, (Tensor(found, inputs[0].dtype),)))
        return self.nodes[-1].output

    def gates(self, tensor: Tensor, count: int) -> list[Tensor]:
        """The equal parts of its last axis."""
        shape = (*tensor.shape[:-1], tensor.shape[-1] // count)
        parts = tuple(Tensor(shape) for _ in range(count))
        self.nodes.append(Node(ops.Split(len(shape) - 1), (tensor,), parts))
        return list(parts)

    def sigmoid(self, *terms: Tensor) -> Tensor:
        return self.add(ops.Logistic(), self.add(ops.Add(), *terms))


def _recurrent(call: Call) -> Results:
    kind = call.node.op_type
    if refused := [name for name in _REFUSED if call.get(name, 0)]:
        raise NotCoveredError(refused[0])
    direction = call.get("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    named = [name.decode().lower() for name in call.get("activations", [])]
    if named and named != [*_USUAL[kind]] * count:
        raise NotCoveredError(f"the activations {', '.join(named)}")
    if any(index < len(call.inputs) and call.inputs[index] is not None for index in (4, 7)):
        raise NotCoveredError("lengths of sequences or peepholes")
    source = call.build.as_in_file(call.value())
    wants_all = bool(call.node.output[0])
    results = [
        _layer(call, source, index, direction == "reverse" or index == 1, wants_all)
        for index in range(count)
    ]
    found: list[Value] = []
    for index, states in enumerate(zip(*results, strict=True)):
        axis = 1 if index == 0 and wants_all else 0
        wide = [
            call.build.moved(ops.Reshape(), t, (*t.shape[:axis], 1, *t.shape[axis:]))
            for t in states
        ]
        joined = wide[0] if count == 1 else call.build.add(ops.Concatenate(axis), *wide)
        found.append(Value(joined, tuple(range(len(joined.shape)))))
    return found if wants_all else [found[0], *found]


def _layer(
    call: Call, source: Tensor, index: int, is_reversed: bool, wants_all: bool
) -> list[Tensor]:
    """All states [steps, batch, units], if they are wanted, and the last ones [batch, units]."""
    kind = call.node.op_type
    steps, batch, _ = source.shape
    weights, recurrence = call.constant(1)[index], call.constant(2)[index]
    units = recurrence.shape[-1]
    bias = call.optional(3)
    both = np.zeros((2, len(weights)), np.float32) if bias is None else bias[index].reshape(2, -1)
    # One product for all steps.
    matrix, vector = call.build.constant(weights), call.build.constant(both[0])
    given = call.build.add(ops.FullyConnected(keep_dims=True), source, matrix, vector)

    turn = Tensor((), "int32")
    inputs = [turn, Tensor(given.shape)]
    starts = [_constant(np.array(steps - 1 if is_reversed else 0, np.int32)), given]
    for position in (5, 6)[: 2 if kind == "LSTM" else 1]:
        starts.append(_start(call, position, index, (batch, units)))
        inputs.append(Tensor((batch, units)))
    step = _Step()
    now = step.add(ops.Gather(), inputs[1], turn, shape=(batch, given.shape[2]))
    states = _STEPS[kind](step, call, now, inputs[2:], recurrence, both[1])
    after = step.add(ops.Add(), turn, _constant(np.array(-1 if is_reversed else 1, np.int32)))
    outputs = [after, inputs[1], *states]
    if wants_all:
        shape = (steps, batch, units)
        inputs.append(Tensor(shape))
        starts.append(_constant(np.zeros(shape, np.float32)))
        outputs.append(_moved_on(step, inputs[-1], states[0], is_reversed))
    body = Graph(tuple(inputs), tuple(outputs), tuple(step.nodes))
    results = tuple(Tensor(t.shape, t.dtype) for t in outputs)
    call.build.insert(Node(ops.Loop(body, steps), tuple(starts), results))
    last = list(results[2 : 2 + len(states)])
    return [results[-1], *last] if wants_all else last


def _moved_on(step: _Step, before: Tensor, state: Tensor, is_reversed: bool) -> Tensor:
    """The states so far with the newest one at their end; at their start where time runs back."""
    steps, batch, units = before.shape
    row = step.add(ops.Reshape(), state, shape=(1, batch, units))
    if steps == 1:
        return row
    sizes = (steps - 1, batch, units)
    cut = ops.Slice((0 if is_reversed else 1, 0, 0), (1, 1, 1), sizes)
    kept = step.add(cut, before, shape=sizes)
    return step.add(ops.Concatenate(0), *((row, kept) if is_reversed else (kept, row)))


def _start(call: Call, position: int, index: int, shape: Shape) -> Tensor:
    there = position < len(call.inputs) and call.inputs[position] is not None
    if not there:
        return _constant(np.zeros(shape, np.float32))
    operand = call.operand(position)
    if not isinstance(operand, Value):
        return _constant(operand[index])
    whole = call.build.as_in_file(operand)
    cut = ops.Slice((index, 0, 0), (1, 1, 1), (1, *shape))
    return call.build.add(cut, whole, shape=shape)


def _constant(array: Array) -> Tensor:
    return Tensor.constant(np.ascontiguousarray(array).reshape(array.shape))


def _product(step: _Step, state: Tensor, matrix: Array, bias: Array) -> Tensor:
    return step.add(ops.FullyConnected(), state, _constant(matrix), _constant(bias))


def _lstm(
    step: _Step, call: Call, now: Tensor, states: Sequence[Tensor], matrix: Array, bias: Array
) -> list[Tensor]:
    hidden, cell = states
    total = step.add(ops.Add(), now, _product(step, hidden, matrix, bias))
    enters, leaves, stays, new = step.gates(total, 4)
    enters, leaves, stays = (step.add(ops.Logistic(), gate) for gate in (enters, leaves, stays))
    added = step.add(ops.Mul(), enters, step.add(ops.Tanh(), new))
    cell = step.add(ops.Add(), step.add(ops.Mul(), stays, cell), added)
    return [step.add(ops.Mul(), leaves, step.add(ops.Tanh(), cell)), cell]


def _gru(
    step: _Step, call: Call, now: Tensor, states: Sequence[Tensor], matrix: Array, bias: Array
) -> list[Tensor]:
    (hidden,) = states
    units = hidden.shape[-1]
    first, second, third = step.gates(now, 3)
    if call.get("linear_before_reset", 0):
        parts = step.gates(_product(step, hidden, matrix, bias), 3)
        update, reset = step.sigmoid(first, parts[0]), step.sigmoid(second, parts[1])
        new = step.add(ops.Add(), third, step.add(ops.Mul(), reset, parts[2]))
    else:
        cut = 2 * units
        parts = step.gates(_product(step, hidden, matrix[:cut], bias[:cut]), 2)
        update, reset = step.sigmoid(first, parts[0]), step.sigmoid(second, parts[1])
        kept = step.add(ops.Mul(), reset, hidden)
        new = step.add(ops.Add(), third, _product(step, kept, matrix[cut:], bias[cut:]))
    new = step.add(ops.Tanh(), new)
    changed = step.add(ops.Mul(), update, step.add(ops.Sub(), hidden, new))
    return [step.add(ops.Add(), new, changed)]


def _rnn(
    step: _Step, call: Call, now: Tensor, states: Sequence[Tensor], matrix: Array, bias: Array
) -> list[Tensor]:
    total = step.add(ops.Add(), now, _product(step, states[0], matrix, bias))
    return [step.add(ops.Tanh(), total)]


_STEPS = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}

#: How each operator is read.
RECURRENT: dict[str, Callable[[Call], Results]] = dict.fromkeys(_STEPS, _recurrent)
