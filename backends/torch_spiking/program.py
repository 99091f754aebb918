"""The machine program of a spiking graph for inputs of one size, as parts on one device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from snnir.backends.torch_spiking.parameters import Parameters
from snnir.backends.torch_spiking.parts import Body, Building
from snnir.backends.torch_spiking.window import Run, Window
from snnir.ir.graph import Graph, Node
from snnir.machine import emitting, lower, walk
from snnir.machine.host import Host
from snnir.machine.plain import charged_levels
from snnir.machine.program import Readout, Scan, Train, outside

__all__ = ["Specialised"]


class Specialised:
    """`known` are the emitters that results name, `windows` the names of all windows in order, `settled` the trains of outputs
    that are levels, by the outputs' names, `readouts` those of the program by the graph's nodes."""

    def __init__(
        self, graph: Graph, parameters: Parameters, sizes: Mapping[str, int], delivery: str, device: torch.device
    ) -> None:
        self.lowered, self.sizes, self.device = lower(graph, sizes, delivery), dict(sizes), device
        program = self.program = self.lowered.program
        self.known = emitting(program)
        self.windows = [program.name]
        for op in program.ops:
            if isinstance(op, Scan):
                order = range(op.windows - 1, -1, -1) if op.reverse else range(op.windows)
                self.windows += [f"{op.name}[{element}]" for element in order]
        trains: dict[str, Train] = {train.name: train for train in outside(program.ops)}
        self.settled = {output.name: trains[output.source] for output in program.outputs if output.kind == "levels"}
        self.readouts: dict[Node, Readout] = {
            self.lowered.nodes[op.train.name]: op for op, _ in walk(program.ops) if isinstance(op, Readout)
        }
        building = Building(parameters, self.lowered.nodes, device, program.few)
        self.body = Body(program.ops, building, {train.name for train in self.settled.values()})

    def levels(self, host: Host, batch: int) -> dict[str, Tensor]:
        """The levels of inputs, float64 [N, n] or, inside a scan, [N, windows, n]."""
        found = charged_levels(self.lowered, host, batch)
        return {name: torch.from_numpy(array.astype(np.float64)).to(self.device) for name, array in found.items()}

    def run(self, run: Run) -> Window:
        """Run everything; the window outside scans, which holds the trains of outputs."""
        window = Window(run, self.program.name, None, {})
        self.body(window)
        return window
