"""LSTM, GRU and plain recurrent layers: a hidden unit is one place in every gate, in every layer and direction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prudent.surgery.calls import Call
from prudent.surgery.joining import join
from prudent.surgery.ledger import Labels
from prudent.surgery.shadow import Field, Shadow, freeze, of_dim

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def recurrent(call: Call) -> tuple[Shadow, ...]:
    """Hidden units: equally many in each layer and direction, since a module knows one hidden size."""
    gates = GATES[call.name]
    x, parameters = call.x, list(call.given["params"])
    states = call.given["hx"] if isinstance(call.given["hx"], (list, tuple)) else [call.given["hx"]]
    layers, both = int(call.given["num_layers"]), bool(call.given["bidirectional"])
    each = 4 if call.given["has_biases"] else 2
    directions = 2 if both else 1
    if len(parameters) != each * layers * directions:
        raise NotImplementedError  # projections
    hidden = parameters[1].shape[1]
    last = len(x.shape) - 1
    freeze(call.ledger, x, "time runs along this dimension", list(range(last)))
    read = Shadow(x.shape, tuple(f for f in x.fields if f.live == (last,)), x.zero)
    made: list[Labels] = []
    every: list[Labels] = []
    for layer in range(layers):
        made = []
        for direction in range(directions):
            at = (layer * directions + direction) * each
            own = parameters[at : at + each]
            made.append(_cell(call, read, own, gates, hidden))
        every += made
        vector = np.concatenate(made)
        fields = (Field(vector.reshape([1] * last + [-1])),) if vector.any() and vector.size > 1 else ()
        read = Shadow((*x.shape[:-1], vector.size), fields)
    call.ledger.balance(every)
    for state in states:
        _start(call, state, every)
    last_states = np.stack(every).reshape(len(every), *[1] * (len(call.shapes[1]) - 2), hidden)
    after = Field(last_states, len(call.shapes[1]) - 1)
    return (Shadow(call.shapes[0], read.fields), *[Shadow(shape, (after,)) for shape in call.shapes[1:]])


def cell(call: Call) -> Shadow | tuple[Shadow, ...]:
    """One step of a recurrent layer."""
    gates = GATES[call.name.removesuffix("_cell")]
    x = call.given["input"]
    states = call.given["hx"] if isinstance(call.given["hx"], (list, tuple)) else [call.given["hx"]]
    own = [call.given[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh") if name in call.given]
    units = _cell(call, x, own, gates, call.given["w_hh"].shape[1])
    for state in states:
        call.ledger.unite(units, state.along(len(state.shape) - 1))
        freeze(call.ledger, state, "examples", [0])
    made = tuple(Shadow(shape, of_dim(units, len(shape) - 1, len(shape))) for shape in call.shapes)
    return made if len(made) > 1 else made[0]


def _cell(call: Call, read: Shadow, own: Sequence[Shadow], gates: int, hidden: int) -> Labels:
    """One layer in one direction: its units."""
    first = own[0].along(0).reshape(gates, hidden)
    units = first[0]
    subs = (0, 1)
    flat = Shadow((1, read.shape[-1]), tuple(Field(f.labels.reshape(1, -1)) for f in read.fields))
    wide = Shadow((2, read.shape[-1]), flat.fields)
    join(call.ledger, [(wide, subs), (own[0], (7, 1))], subs)
    for part in own:
        if part.parameter is not None:
            call.ledger.makers[part.parameter, 0] = None
        rows = part.along(0).reshape(gates, hidden)
        call.ledger.unite(rows, np.broadcast_to(units, rows.shape))
    call.ledger.unite(own[1].along(1), units)
    return np.asarray(units)


def _start(call: Call, state: Shadow, every: Sequence[Labels]) -> None:
    own = state.along(len(state.shape) - 1)
    for units in every[:1] if state.made else every:  # zeros are made in whatever size there is
        call.ledger.unite(units, own)
    freeze(call.ledger, state, "layers, directions and examples", list(range(len(state.shape) - 1)))


RULES: Mapping[str, Any] = dict.fromkeys(GATES, recurrent) | {f"{name}_cell": cell for name in GATES}
"""Operation -> rule."""
