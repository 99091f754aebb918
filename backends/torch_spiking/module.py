"""A spiking graph as a PyTorch module: its front, its parameters and its options."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from snnir.backends.torch_spiking.boundaries import Protocol
from snnir.backends.torch_spiking.export import with_parameters
from snnir.backends.torch_spiking.outputs import TrainedOutputs
from snnir.backends.torch_spiking.parameters import Parameters
from snnir.backends.torch_spiking.program import Specialised
from snnir.backends.torch_spiking.result import Recorder, TorchResult, integers
from snnir.backends.torch_spiking.surrogates import surrogate_gradient
from snnir.backends.torch_spiking.window import Run
from snnir.errors import InputError, UsageError
from snnir.ir.dims import BATCH
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph
from snnir.ir.phases import FEW_SPIKES, INTEGRATE_FIRE, neuron_of
from snnir.machine.host import Host
from snnir.machine.options import RunOptions, batch_size, check_graph

__all__ = ["SpikingModule"]

_KEPT = 8
"""How many machine programs of different sizes a module keeps."""


class SpikingModule(nn.Module):
    """Runs the machine programs of one spiking graph with dense tensors; trains it where a surrogate gradient is given.

    A machine program is for samples of one size: the module makes one for each size that it sees, and keeps the last few. All
    of them share its parameters, which are the weights and biases in real units (`Weights`, `Bias`), in float64; what the
    network computes with are the integers that they stand for, `round(parameter / unit)`, in training as in evaluation. In
    evaluation the spikes are exactly those of the simulator. In training (`module.train()`) every window lasts `steps`
    steps, and the spike function's gradient is the `surrogate` (`SURROGATES`); functions of complete levels have the derivative
    of the real function. Thresholds are not trained, nor is what the host computes before the network.
    """

    def __init__(self, graph: Graph, *, surrogate: str | None = None, steps: int | None = None, delivery: str = "relay") -> None:
        """`steps` caps every window (None: to quiescence; training of bif neurons needs a number, few-spike neurons take their
        schedule, integrate-and-fire neurons their clock), `delivery` as in `Simulator.run`.

        A module without surrogate starts in evaluation, one with a surrogate in training, as PyTorch's modules do.
        Raises `UsageError` for a graph of another level or an unknown option, `UnsupportedError` for an op by name.
        """
        super().__init__()
        check_graph(graph)
        RunOptions.of(steps=steps, delivery=delivery).check(graph, ())
        self.graph, self.steps, self.delivery = graph, steps, delivery
        self.few, self.clocked = (neuron_of(graph) == each for each in (FEW_SPIKES, INTEGRATE_FIRE))
        self.surrogate = None if surrogate is None else surrogate_gradient(surrogate)
        self.parts = Parameters(graph)
        self._programs: OrderedDict[object, Specialised] = OrderedDict()
        self.register_buffer("anchor", torch.zeros((), dtype=torch.float64), persistent=False)  # a graph may lack weights
        self.anchor: Tensor
        if surrogate is None:
            self.eval()

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles make their machine programs anew."""
        return {**self.__dict__, "_programs": OrderedDict()}

    def forward(self, x: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
        """Outputs by name, for the inputs by name (or the only input), shaped as the graph declares them.

        In training, outputs are float64 with gradients: settled levels, or what readouts say, through movement and
        softmax; behind any other op of the host `UnsupportedError` is raised. In evaluation they are those of `run`, without
        outputs of words (labels), which are no tensors.
        """
        if not self.training:
            result = self.run(x, steps=self.steps, delivery=self.delivery)
            tensors = {name: array for name, array in result.outputs.items() if array.dtype.kind != "U"}
            return {name: torch.from_numpy(array).to(self.anchor.device) for name, array in tensors.items()}
        if self.surrogate is None:
            raise UsageError("training needs a surrogate gradient: SpikingModule(graph, surrogate='arctan', steps=...)")
        if self.steps is None and not self.few and not self.clocked:
            raise UsageError("training needs a fixed number of steps: SpikingModule(graph, surrogate=..., steps=...)")
        host, sizes, batch = self._host(x)
        program = self._program(sizes, self.delivery)
        protocol = Protocol(self.delivery, False, self.few, self.steps, self.surrogate)
        window = program.run(Run(batch, self.anchor.device, protocol, program.levels(host, batch)))
        outputs = TrainedOutputs(program, host, window)
        return {name: outputs.of(name, value) for name, value in self.graph.outputs.items()}

    @torch.no_grad()
    def run(
        self,
        inputs: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray],
        *,
        steps: int | None = None,
        delivery: str = "relay",
        execution: str = "reset",
        record: Sequence[str] = (),
        counts: bool = False,
    ) -> TorchResult:
        """Simulate a batch exactly: the spikes of `Simulator.run` with the same options, at the same steps.

        Synaptic operations, traces and membranes are not kept. Raises `InputError`, `UsageError` and `UnsupportedError`.
        """
        options = RunOptions.of(steps=steps, delivery=delivery, execution=execution, record=record, counts=counts)
        host, sizes, batch = self._host(inputs)
        options.check(self.graph, record)  # what few-spike neurons lack is said before anything is lowered
        program = self._program(sizes, delivery)
        options.check(self.graph, [name for name, (op, _) in program.known.items() if op.emits])
        if any(parameter.dtype != torch.float64 for parameter in self.parameters()):
            raise UsageError("exact runs need parameters in float64; call module.double() on a module as it was made")
        device = self.anchor.device
        recorder = Recorder(batch, program.windows, program.known, record, counts, device)
        protocol = Protocol(delivery, options.carry, self.few, steps)
        run = Run(batch, device, protocol, program.levels(host, batch), recorder)
        window = program.run(run)
        sums = {}
        for node, readout in program.readouts.items():
            rows = [integers(total) for total in run.sums.get(readout.train.name, [])]
            if rows:
                whole = rows[0] if program.known[readout.train.name][1] is None else np.stack(rows, axis=1)
                sums[node.output] = whole.reshape(*whole.shape[:-1], *readout.train.shape)
        reals = host.finish(sums)
        outputs = {}
        for name, value in self.graph.outputs.items():
            source = program.settled.get(name)
            if source is None:
                outputs[name] = reals[value]
            else:
                outputs[name] = integers(window.trains[source.name].sum(dim=0)).reshape(batch, *source.shape)
        return recorder.result(outputs, protocol.undelivered)

    def to_graph(self) -> Graph:
        """The spiking graph with the present parameters as integers, for any backend."""
        return with_parameters(self.graph, self.parts)

    def _program(self, sizes: Mapping[str, int], delivery: str) -> Specialised:
        """The machine program for these sizes, of which the batch is none; the schedule of few-spike neurons depends on the
        delivery as well."""
        known = {name: size for name, size in sizes.items() if name != BATCH}
        key = tuple(sorted(known.items())), delivery if self.few else "", self.anchor.device
        if key not in self._programs:
            self._programs[key] = Specialised(self.graph, self.parts, known, delivery, self.anchor.device)
            if len(self._programs) > _KEPT:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]

    def _host(self, x: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray]) -> tuple[Host, dict[str, int], int]:
        if not isinstance(x, Mapping):
            if len(self.graph.inputs) != 1:
                names = ", ".join(value.name for value in self.graph.inputs)
                raise InputError(f"model {self.graph.name} takes inputs {names}; give a mapping by name")
            x = {self.graph.inputs[0].name: x}
        given = {name: array.detach().cpu().numpy() if isinstance(array, Tensor) else array for name, array in x.items()}
        arrays = check_inputs(self.graph, given)
        sizes = bind_sizes(self.graph, arrays)
        host = Host(self.graph, sizes, {value: arrays[value.name] for value in self.graph.inputs}, {})
        return host, sizes, batch_size(self.graph, sizes)
