"""The spiking graph as a PyTorch module: its front, its parameters and its options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from snnir.backends.torch_spiking.export import with_parameters
from snnir.backends.torch_spiking.movement import COMBINED
from snnir.backends.torch_spiking.neurons import FewSpikes, Population, Summing, grid_of
from snnir.backends.torch_spiking.outputs import TrainedOutputs
from snnir.backends.torch_spiking.result import Recorder, TorchResult, integers
from snnir.backends.torch_spiking.run import Run, Window
from snnir.backends.torch_spiking.surrogates import surrogate_gradient
from snnir.backends.torch_spiking.synapses import Synapse
from snnir.errors import InputError, UnsupportedError, UsageError
from snnir.ir import ops
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Encode, Fs, Function, Readout, Scan
from snnir.ir.phases import FEW_SPIKES, Phases, neuron_of, phases_of
from snnir.machine.host import Host, concrete_shape, window_order
from snnir.machine.options import RunOptions, batch_size, check_graph

__all__ = ["SpikingModule"]


class SpikingModule(nn.Module):
    """Runs one spiking graph with dense tensors; trains it where a surrogate gradient is given.

    Parameters are the weights and biases in real units (`Synapse`, `Summing`), in float64; what the network computes
    with are the whole numbers that they stand for, `round(parameter / unit)`, in training as in evaluation. In
    evaluation the spikes are exactly those of the simulator. In training (`module.train()`) every window lasts `steps`
    steps, and the spike function's gradient is the `surrogate` (`SURROGATES`); thresholds are not trained, nor is what
    the host computes before the network.
    """

    def __init__(self, graph: Graph, *, surrogate: str | None = None, steps: int | None = None, delivery: str = "relay") -> None:
        """`steps` caps every window (None: to quiescence; training of bif neurons needs a number, few-spike neurons take their
        schedule), `delivery` as in `Simulator.run`.

        A module without surrogate starts in evaluation, one with a surrogate in training, as PyTorch's modules do.
        Raises `UsageError` for a graph of another level or an unknown option, `UnsupportedError` for an op by name.
        """
        super().__init__()
        check_graph(graph)
        RunOptions.of(steps=steps, delivery=delivery).check(graph, ())
        self.graph, self.steps, self.delivery = graph, steps, delivery
        self.surrogate = None if surrogate is None else surrogate_gradient(surrogate)
        self.parts = nn.ModuleDict()
        self._keys: dict[Node, str] = {}
        self._fill(graph, "", {value: value.array for value in graph.constants})
        self.register_buffer("anchor", torch.zeros((), dtype=torch.float64), persistent=False)  # a graph may lack weights
        self.anchor: Tensor
        if surrogate is None:
            self.eval()

    def _fill(self, graph: Graph, prefix: str, constants: Mapping[Value, np.ndarray]) -> None:
        for node in graph.nodes:
            if isinstance(node.op, Function):
                raise UnsupportedError(
                    f"{node.describe()}: the torch backend runs no functions of complete levels; use the simulator "
                    "(backend='simulator'), or the plain interpreter"
                )
        for node in graph.nodes:
            name = prefix + node.outputs[0].name
            if node.body is not None:
                if prefix:
                    raise UnsupportedError(f"{node.describe()}: the torch backend runs no scan inside a scan")
                inner = {value: value.array for value in node.body.constants}
                pairs = zip(node.body.inputs, node.operands, strict=True)
                inner.update({value: constants[outer] for value, outer in pairs if outer in constants})
                self._fill(node.body, f"{name}/", inner)
            elif isinstance(node.op, ops.Population | Readout):
                first, bias = (constants[value] for value in node.operands[:2])
                neurons = FewSpikes if isinstance(node.op, Fs) else Population
                self._add(node, name, (neurons if isinstance(node.op, ops.Population) else Summing)(node, first, bias))
            elif node.outputs[0].type.dtype == "current" and node.outputs[0].users:
                user = node.outputs[0].users[0]
                if not isinstance(user.op, ops.Population | Readout):
                    raise UnsupportedError(f"{user.describe()}: {node.outputs[0].name} goes into no population")
                grid = grid_of(user, constants[user.operands[0]])
                sample = tuple(size if isinstance(size, int) else -1 for size in user.output.type.shape[1:])
                arrays = [constants[value] for value in node.operands[1:]]
                self._add(node, name, Synapse(node, arrays, grid, sample))

    def _add(self, node: Node, name: str, part: nn.Module) -> None:
        # numbered, because a module's key may hold no dot and no two names may become one
        key = f"{len(self._keys)}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        self._keys[node], self.parts[key] = key, part

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
        phases = self._phases(self.delivery)
        if self.steps is None and phases is None:
            raise UsageError("training needs a fixed number of steps: SpikingModule(graph, surrogate=..., steps=...)")
        host, sizes, batch = self._host(x)
        run = Run(
            self._parts(),
            sizes,
            batch,
            self.anchor.device,
            None,
            delivery=self.delivery,
            cap=self.steps,
            surrogate=self.surrogate,
            phases=phases,
        )
        window = self._outermost(host)
        run.window(window)
        outputs = TrainedOutputs(run, window)
        return {name: outputs.of(value) for name, value in self.graph.outputs.items()}

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
        host, sizes, batch = self._host(inputs)
        known = {name: (inside, shape) for name, _, inside, shape in self._emitters(sizes)}
        names = [name for name, op, _, _ in self._emitters(sizes) if not isinstance(op, Readout)]
        options = RunOptions.of(steps=steps, delivery=delivery, execution=execution, record=record, counts=counts)
        options.check(self.graph, names)
        if any(parameter.dtype != torch.float64 for parameter in self.parameters()):
            raise UsageError("exact runs need parameters in float64; call module.double() on a module as it was made")
        windows = [self.graph.name]
        for node in self.graph.nodes:
            if isinstance(node.op, Scan):
                length = concrete_shape(node.operands[node.op.states].type, sizes)[node.op.axis]
                windows += [f"{node.outputs[0].name}[{element}]" for element in window_order(node.op, length)]
        device = self.anchor.device
        populations = [name for name, op, _, _ in self._emitters(sizes) if isinstance(op, ops.Population)]
        recorder = Recorder(batch, windows, populations, known, record, counts, options.carry, device)
        phases = self._phases(delivery, sizes)
        run = Run(self._parts(), sizes, batch, device, recorder, delivery=delivery, cap=steps, carry=options.carry, phases=phases)
        window = self._outermost(host)
        run.window(window)
        sums = {}
        inside = {node.outputs[0] for outer in self.graph.nodes if outer.body is not None for node in outer.body.nodes}
        for value, parts in run.sums.items():
            sums[value] = integers(torch.stack(parts, dim=1) if value in inside else parts[0])
        reals = host.finish(sums)
        outputs = {}
        for name, value in self.graph.outputs.items():
            spikes = value.type.dtype == "spike"
            outputs[name] = integers(run.train(window, value).sum(dim=0)) if spikes else reals[value]
        if phases is not None:  # a window takes the steps of its schedule, whatever is silent
            for name in windows:
                scan = name.rpartition("[")[0] if name != self.graph.name else ""
                recorder.used[name].clamp_(min=phases.windows[scan])
        return recorder.result(outputs)

    def _phases(self, delivery: str, sizes: Mapping[str, int] | None = None) -> Phases | None:
        """The schedule of few-spike neurons; None for others."""
        if neuron_of(self.graph) != FEW_SPIKES:
            return None
        scans = [] if sizes is None else [(node, node.op) for node in self.graph.nodes if isinstance(node.op, Scan)]
        lengths = {
            node.outputs[0].name: concrete_shape(node.operands[op.states].type, sizes or {})[op.axis] for node, op in scans
        }
        return phases_of(self.graph, delivery, lengths)

    def to_graph(self) -> Graph:
        """The spiking graph with the present parameters as whole numbers, for any backend.

        Ranges and settling bounds are not certified for the new weights: the pass `certify-bounds` does so.
        """
        return with_parameters(self.graph, self._parts())

    def _parts(self) -> dict[Node, nn.Module]:
        return {node: self.parts[key] for node, key in self._keys.items()}

    def _outermost(self, host: Host) -> Window:
        constants = {value: value.array for value in self.graph.constants}
        return Window(self.graph, host, {}, constants, "", self.graph.name)

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

    def _emitters(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, object, bool, tuple[int, ...]]]:
        """Name, op, whether it is in a body, and sample shape of everything that is counted."""
        for outer in self.graph.nodes:
            body = outer.body
            prefix = f"{outer.outputs[0].name}/" if body is not None else ""
            for node in [outer] if body is None else body.nodes:
                value = node.outputs[0]
                counted = isinstance(node.op, ops.Population | Encode | Readout) or (
                    isinstance(node.op, COMBINED) and value.type.dtype == "spike"
                )
                if counted and not (isinstance(node.op, Encode) and node.operands[0].is_constant):
                    yield prefix + value.name, node.op, body is not None, concrete_shape(value.type, sizes)[1:]
