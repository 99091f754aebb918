"""The range proof: intervals that hold every integer a program can reach, at any moment of any window.

Interval analysis over the program, one interval for every address. What a receiver holds of a source is always a tracer value
of that source, also between two events of one step and also where a scan is carried (docs/bundle.md, "Why the ranges hold"),
so that sums lie in `initial + sum of weight * tracer`. Membranes follow from them by `membranes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.machine.boundaries import Protocol
from snnir.machine.program import IntegerProgram, Op, Route, Scan
from snnir.machine.spans import Bounds, Interval, Spans, anything, bits_of, crossing, union

__all__ = ["Bounds", "Interval", "bits_of", "certify"]

_ROUNDS = 4
"""How often a scan is gone through before the tracers of states that still grow are taken to be anything in their levels."""


def certify(program: IntegerProgram) -> Bounds:
    """The ranges of everything in a program."""
    work = _Analysis(program)
    work.ops(program.ops, {}, False)
    return work.bounds


class _Analysis:
    def __init__(self, program: IntegerProgram) -> None:
        self.protocol = Protocol(program.delivery, program.carry, program.few)
        self.bounds = Bounds()

    def ops(self, ops: Sequence[Op], spans: Spans, resumed: bool) -> None:
        """Enter the spans of all trains; `resumed`: the window is a carried one that goes on."""
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, spans)
            elif isinstance(op, Route):
                index = op.map.array()
                joined = np.concatenate([spans[name] for name in op.sources], axis=2)
                self._enter(op.train.name, np.where(index >= 0, joined[:, :, np.maximum(index, 0)], 0), spans)
            else:
                span = op.span(spans, self.bounds, resumed)
                if op.emits:
                    self._enter(op.train.name, span, spans)

    def _enter(self, name: str, span: np.ndarray, spans: Spans) -> None:
        spans[name] = span
        low, high = span[:, 0].min(axis=1, initial=0), span[:, 1].max(axis=1, initial=0)
        events = int(low[1:].min()), int(high[1:].max())
        self.bounds.see(name, {"tracer": (int(low[0]), int(high[0])), "events": events}, self.bounds.trains)

    def _scan(self, op: Scan, spans: Spans) -> None:
        protocol = self.protocol
        starts = [spans[state.initial] for state in op.states]
        held = list(starts)
        leaving: list[list[np.ndarray]] = [[] for _ in op.results]
        following: list[list[np.ndarray]] = [[] for _ in op.states]
        # A fresh window; then, until nothing grows, windows whose states are what those before them made.
        for k in range(max(min(op.windows, _ROUNDS + 1), 1)):  # of a scan without elements nothing but its states is used
            inside: Spans = {}
            for shared in op.shared:
                inside[shared.input.name] = protocol.shared_span(crossing(spans[shared.source], shared.first), k)
            for element in op.elements:
                inside[element.input.name] = protocol.element_span(
                    element, crossing(spans[element.source], element.first), op.windows, k
                )
            for state, span in zip(op.states, held, strict=True):
                inside[state.input.name] = protocol.state_span(span, k)
            for name, span in list(inside.items()):
                self._enter(name, span, inside)
            self.ops(op.ops, inside, protocol.resumed(k))
            for rows, result in zip(leaving, op.results, strict=True):
                rows.append(protocol.result_span(crossing(inside[result.source], result.first), k))
            for rows, state in zip(following, op.states, strict=True):
                rows.append(protocol.result_span(crossing(inside[state.following], state.first), k))
            grown = [union([span, inside[state.following]]) for span, state in zip(held, op.states, strict=True)]
            if k == _ROUNDS - 1:
                grown = [union([span, anything(state.input)]) for span, state in zip(grown, op.states, strict=True)]
            same = all(np.array_equal(new, old) for new, old in zip(grown, held, strict=True))
            held = grown
            if same and (k > 0 or not protocol.carry):
                break
        for state, rows, start in zip(op.states, following, starts, strict=True):
            self._enter(state.final.name, union([*rows, start]), spans)
        for result, rows in zip(op.results, leaving, strict=True):
            self._enter(result.train.name, np.tile(union(rows), (1, 1, op.windows)), spans)
