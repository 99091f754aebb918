"""Modules imported through torch.export compute what they compute in PyTorch."""

from __future__ import annotations

import io
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
import snnir.api
from snnir.cli import main
from snnir.errors import ModelError, UnsupportedError, UsageError
from snnir.frontends.torch import run_torch
from snnir.ir import Graph
from snnir.ir.execute import execute

TOLERANCE = 1e-5
DYNAMIC = torch.export.Dim.DYNAMIC


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, *x: torch.Tensor) -> Any:
        return self.function(*x)


def data(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def randomised(module: nn.Module) -> nn.Module:
    """Parameters and statistics that are not those of initialisation."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator) * 0.5
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return module.eval()


def same(module: nn.Module, graph: Graph, *inputs: torch.Tensor, example: Any = None) -> None:
    arrays = {value.name: x.numpy() for value, x in zip(graph.inputs, inputs, strict=True)}
    ours, theirs = execute(graph, arrays), run_torch(module, arrays, example)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        assert np.abs(ours[name] - expected).max() <= TOLERANCE * max(float(np.abs(expected).max()), 1e-3), name


def check(module: nn.Module, *shapes: tuple[int, ...], positive: bool = False) -> Graph:
    """Import with one batch, compare on another; the batch is open."""
    randomised(module)
    example = [x.abs() + 0.1 if positive else x for x in data(*shapes)]
    graph = snnir.import_model(module, example_inputs=tuple(example))
    assert all(value.type.shape[0] == snnir.ir.dims.dim("N") for value in graph.inputs), graph.notes
    other = [x.abs() + 0.1 if positive else x for x in data(*((5, *shape[1:]) for shape in shapes), seed=2)]
    same(module, graph, *other)
    return graph


ACTIVATIONS: dict[str, tuple[nn.Module | None, Callable[..., Any]]] = {
    "relu": (nn.ReLU(), F.relu),
    "relu_in_place": (nn.ReLU(inplace=True), torch.relu),
    "relu6": (nn.ReLU6(), F.relu6),
    "sigmoid": (nn.Sigmoid(), torch.sigmoid),
    "tanh": (nn.Tanh(), torch.tanh),
    "hardtanh": (nn.Hardtanh(-0.5, 1.5), lambda x: F.hardtanh(x, -0.5, 1.5)),
    "hardsigmoid": (nn.Hardsigmoid(), F.hardsigmoid),
    "hardswish": (nn.Hardswish(), F.hardswish),
    "silu": (nn.SiLU(), F.silu),
    "gelu": (nn.GELU(), F.gelu),
    "gelu_tanh": (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "mish": (nn.Mish(), F.mish),
    "elu": (nn.ELU(0.7), lambda x: F.elu(x, 0.7)),
    "selu": (nn.SELU(), F.selu),
    "celu": (nn.CELU(1.3), lambda x: F.celu(x, 1.3)),
    "softplus": (nn.Softplus(), F.softplus),
    "softplus_beta": (nn.Softplus(2.0), lambda x: F.softplus(x, 2.0)),
    "softsign": (nn.Softsign(), F.softsign),
    "leaky_relu": (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "prelu": (nn.PReLU(), None),  # type: ignore[dict-item]
    "prelu_channels": (nn.PReLU(3), None),  # type: ignore[dict-item]
    "rrelu": (nn.RReLU(), F.rrelu),
    "threshold": (nn.Threshold(0.3, 0.0), lambda x: F.threshold(x, 0.3, 0.0)),
    "logsigmoid": (nn.LogSigmoid(), F.logsigmoid),
    "softshrink": (nn.Softshrink(0.4), lambda x: F.softshrink(x, 0.4)),
    "hardshrink": (nn.Hardshrink(0.4), lambda x: F.hardshrink(x, 0.4)),
    "tanhshrink": (nn.Tanhshrink(), F.tanhshrink),
    "glu": (nn.GLU(), F.glu),
    "dropout": (nn.Dropout(0.5), lambda x: F.dropout(x, 0.5, False)),
    "identity": (nn.Identity(), lambda x: x.clone().contiguous()),
    "softmax": (nn.Softmax(1), lambda x: F.softmax(x, dim=1)),
    "log_softmax": (nn.LogSoftmax(-1), lambda x: F.log_softmax(x, -1)),
    "clamp": (None, lambda x: x.clamp(-0.5, 0.5)),
    "clamp_min": (None, lambda x: x.clamp_min(-0.5)),
    "clamp_max": (None, lambda x: torch.clamp(x, max=0.5)),
    "exp": (None, torch.exp),
    "erf": (None, torch.erf),
    "atan": (None, torch.atan),
    "sign": (None, torch.sign),
    "floor": (None, torch.floor),
    "ceil": (None, torch.ceil),
    "round": (None, torch.round),
    "abs": (None, torch.abs),
    "sin": (None, torch.sin),
    "cos": (None, torch.cos),
}


@pytest.mark.parametrize("form", ["module", "function"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, form: str) -> None:
    module, function = ACTIVATIONS[name]
    chosen = module if form == "module" else function
    if chosen is None:
        pytest.skip("it has no such form")
    check(chosen if isinstance(chosen, nn.Module) else Function(chosen), (2, 3, 4))


POSITIVE: dict[str, Callable[..., Any]] = {
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "reciprocal": torch.reciprocal,
    "pow": lambda x: x**1.5,
    "root": lambda x: x**0.5,
    "exponent": lambda x: 2.0**x,
    "div": lambda x: 1.0 / x,
}


@pytest.mark.parametrize("name", POSITIVE)
def test_functions_of_positive_numbers(name: str) -> None:
    check(Function(POSITIVE[name]), (2, 3, 4), positive=True)


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(4, 3), (2, 4)),
    "linear_sequence": (nn.Linear(4, 3, bias=False), (2, 5, 4)),
    "conv1d": (nn.Conv1d(3, 4, 3, 2, 1), (2, 3, 9)),
    "conv1d_groups": (nn.Conv1d(4, 6, 3, dilation=2, groups=2, bias=False), (2, 4, 9)),
    "conv1d_same": (nn.Conv1d(3, 4, 4, padding="same"), (2, 3, 9)),
    "conv1d_valid": (nn.Conv1d(3, 4, 4, padding="valid"), (2, 3, 9)),
    "conv1d_circular": (nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 9)),
    "conv2d": (nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0)), (2, 2, 6, 5)),
    "conv2d_reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 6, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "batch_norm": (nn.BatchNorm1d(3), (2, 3)),
    "batch_norm_1d": (nn.BatchNorm1d(3, affine=False), (2, 3, 5)),
    "batch_norm_2d": (nn.BatchNorm2d(3, 1e-3), (2, 3, 4, 4)),
    "max_pool1d": (nn.MaxPool1d(3, 2, 1), (2, 3, 9)),
    "max_pool1d_dilated": (nn.MaxPool1d(2, 3, dilation=2), (2, 3, 9)),
    "max_pool2d": (nn.MaxPool2d((2, 3)), (2, 3, 6, 6)),
    "max_pool2d_ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 3, 6, 6)),
    "avg_pool1d": (nn.AvgPool1d(3, 2, 1), (2, 3, 9)),
    "avg_pool2d": (nn.AvgPool2d(2, count_include_pad=False, padding=1), (2, 3, 6, 6)),
    "avg_pool2d_divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 3, 6, 6)),
    "avg_pool3d": (nn.AvgPool3d(2), (2, 3, 4, 4, 4)),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d(1), (2, 3, 8)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d(1), (2, 3, 4, 4)),
    "adaptive_avg_pool2d_many": (nn.AdaptiveAvgPool2d((2, 4)), (2, 3, 4, 4)),
    "adaptive_max_pool1d": (nn.AdaptiveMaxPool1d(2), (2, 3, 8)),
    "flatten": (nn.Flatten(), (2, 3, 4, 5)),
    "unflatten": (nn.Unflatten(1, (2, 3)), (2, 6)),
    "zero_pad": (nn.ZeroPad2d((1, 2, 0, 1)), (2, 3, 4, 4)),
    "constant_pad": (nn.ConstantPad1d(1, 0.5), (2, 3, 4)),
    "reflection_pad": (nn.ReflectionPad1d(2), (2, 3, 6)),
    "replication_pad": (nn.ReplicationPad1d((1, 2)), (2, 3, 6)),
    "circular_pad": (nn.CircularPad1d(1), (2, 3, 6)),
    "sequential": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(28, 2)), (2, 3, 9)),
    "channel_shuffle": (nn.ChannelShuffle(2), (2, 4, 3, 3)),
    "pixel_shuffle": (nn.PixelShuffle(2), (2, 8, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    module, shape = LAYERS[name]
    check(module, shape)


W = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))

FUNCTIONS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "add": (lambda x, y: x + y, [(2, 3), (2, 3)]),
    "add_alpha": (lambda x, y: torch.add(x, y, alpha=0.5), [(2, 3), (2, 3)]),
    "add_scalar": (lambda x: x + 1, [(2, 3)]),
    "sub": (lambda x, y: x - 2 * y, [(2, 3), (2, 3)]),
    "rsub": (lambda x: 1 - x, [(2, 3)]),
    "rsub_alpha": (lambda x, y: torch.rsub(x, y, alpha=3), [(2, 3), (2, 3)]),
    "mul": (lambda x, y: x * y * 0.5, [(2, 3), (2, 3)]),
    "div": (lambda x: x / 3, [(2, 3)]),
    "neg": (lambda x: -x, [(2, 3)]),
    "square": (lambda x: x**2 + torch.square(x), [(2, 3)]),
    "addcmul": (lambda x, y: torch.addcmul(x, x, y, value=0.3), [(2, 3), (2, 3)]),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3), [(2, 3), (2, 3)]),
    "matmul": (lambda x: x @ W, [(2, 5, 4)]),
    "mm": (lambda x: torch.mm(x, W), [(2, 4)]),
    "bmm": (lambda x, y: torch.bmm(x, y), [(2, 3, 4), (2, 4, 5)]),
    "mv": (lambda x: torch.mv(x, W[:, 0]), [(2, 4)]),
    "addmm": (lambda x: torch.addmm(W[0], x, W), [(2, 4)]),
    "addmm_scaled": (lambda x: torch.addmm(W[0], x, W, beta=0.5, alpha=2.0), [(2, 4)]),
    "einsum": (lambda x: torch.einsum("nti,io->nto", x, W), [(2, 5, 4)]),
    "mean": (lambda x: x.mean(1), [(2, 5, 4)]),
    "mean_keep": (lambda x: x.mean((1, 2), keepdim=True), [(2, 5, 4)]),
    "sum": (lambda x: x.sum(-1), [(2, 5, 4)]),
    "argmax": (lambda x: x.argmax(1), [(2, 5)]),
    "view": (lambda x: x.view(x.shape[0], -1), [(2, 3, 4)]),
    "view_size": (lambda x: x.view(x.size(0), x.size(1) * x.size(2)), [(2, 3, 4)]),
    "reshape": (lambda x: x.reshape(-1, 2, 6), [(2, 3, 4)]),
    "permute": (lambda x: x.permute(0, 2, 1), [(2, 3, 4)]),
    "transpose": (lambda x: x.transpose(-1, 1), [(2, 3, 4)]),
    "swapaxes": (lambda x: x.swapaxes(1, 2), [(2, 3, 4)]),
    "movedim": (lambda x: x.movedim(1, -1), [(2, 3, 4, 2)]),
    "unsqueeze": (lambda x: x.unsqueeze(1), [(2, 3, 4)]),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1), [(2, 3, 4)]),
    "slice": (lambda x: x[:, 1:3, ::2], [(2, 4, 6)]),
    "slice_end": (lambda x: x[:, -2:, :-1], [(2, 4, 6)]),
    "select": (lambda x: x[:, 1] + x[:, -1], [(2, 4, 6)]),
    "narrow": (lambda x: x.narrow(1, 1, 2), [(2, 4, 6)]),
    "index_select": (lambda x: x.index_select(1, torch.tensor([3, 0])), [(2, 4)]),
    "index": (lambda x: x[:, [3, 0, 1]], [(2, 4)]),
    "flip": (lambda x: x.flip(1), [(2, 4, 3)]),
    "cat": (lambda x, y: torch.cat([x, y, x], 1), [(2, 3), (2, 4)]),
    "stack": (lambda x, y: torch.stack([x, y], 1), [(2, 3), (2, 3)]),
    "split": (lambda x: x.split(2, 1), [(2, 5)]),
    "split_sizes": (lambda x: torch.split(x, [2, 3], 1)[1], [(2, 5)]),
    "chunk": (lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1], [(2, 4)]),
    "unbind": (lambda x: x.unbind(1)[0] + x.unbind(1)[1], [(2, 2, 3)]),
    "expand": (lambda x: x.unsqueeze(1).expand(-1, 3, -1), [(2, 4)]),
    "expand_as": (lambda x, y: x.unsqueeze(1).expand_as(y), [(2, 4), (2, 3, 4)]),
    "repeat": (lambda x: x.repeat(1, 2), [(2, 4)]),
    "pad": (lambda x: F.pad(x, (1, 2)), [(2, 4)]),
    "pad_value": (lambda x: F.pad(x, (1, 2), value=-1.0), [(2, 4)]),
    "zeros": (lambda x: x + torch.zeros(x.shape[0], 4) + torch.ones_like(x), [(2, 4)]),
    "new_full": (lambda x: torch.cat([x, x.new_full((x.shape[0], 1), 0.5)], 1), [(2, 4)]),
    "tuple": (lambda x: (x + 1, [x * 2]), [(2, 4)]),
    "dict": (lambda x: {"a": x + 1, "b": {"c": x}}, [(2, 4)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    check(Function(function), *shapes)


class Recurrent(nn.Module):
    """A recurrent layer with or without initial states; every result is given out."""

    def __init__(self, kind: str, initial: bool, **options: Any) -> None:
        super().__init__()
        self.layer = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](3, 4, **options)
        self.initial = initial

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> Any:
        return self.layer(x, (states if len(states) > 1 else states[0]) if states else None)


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layers": {"num_layers": 2, "dropout": 0.3},
    "bidirectional": {"bidirectional": True},
    "both": {"num_layers": 2, "bidirectional": True},
    "no_bias": {"bias": False},
    "no_bias_both": {"bias": False, "num_layers": 2, "bidirectional": True},
}


@pytest.mark.parametrize("kind", ["rnn", "rnn_relu", "gru", "lstm"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_recurrent_layers(kind: str, batch_first: bool, form: str) -> None:
    options = FORMS[form] | ({"nonlinearity": "relu"} if kind == "rnn_relu" else {})
    kind = kind.split("_")[0]
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    for initial in (False, True):
        module = randomised(Recurrent(kind, initial, batch_first=batch_first, **options))
        states = 0 if not initial else 2 if kind == "lstm" else 1

        def arguments(batch: int, length: int, seed: int, states: int = states) -> list[torch.Tensor]:
            x = (batch, length, 3) if batch_first else (length, batch, 3)
            return data(x, *([(rows, batch, 4)] * states), seed=seed)

        graph = snnir.import_model(module, example_inputs=tuple(arguments(2, 5, 0)))
        assert [str(size) for size in graph.inputs[0].type.shape] == (["N", "T", "3"] if batch_first else ["T", "N", "3"])
        for batch, length in ((3, 7), (1, 2)):
            same(module, graph, *arguments(batch, length, 1))


class ScanCell(nn.Module):
    """A cell of the user's own, written with PyTorch's scan."""

    def __init__(self, reverse: bool, start: bool) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.rand(4))
        self.inside, self.back = nn.Linear(3, 4), nn.Linear(4, 4)
        self.reverse, self.start = reverse, start

    def forward(self, x: torch.Tensor) -> Any:
        from torch._higher_order_ops.scan import scan

        def step(states: tuple[torch.Tensor, torch.Tensor], element: torch.Tensor) -> Any:
            a, b = states
            a = torch.relu(self.inside(element) + self.u * a)
            b = torch.tanh(self.back(b) + 0.5 * a)
            return (a, b), (b.clone(), a + b)

        zero = torch.zeros(x.shape[0], 4)
        start = x[:, 0, :1].expand(-1, 4) * 1.0 if self.start else zero + 0.25
        return scan(step, (zero, start), x, dim=1, reverse=self.reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("start", [False, True])
def test_scans(reverse: bool, start: bool) -> None:
    graph = check(ScanCell(reverse, start), (2, 5, 3))
    assert any(node.op.name == "scan" for node in graph.nodes)
    x = data((3, 8, 3))[0]
    same(randomised(ScanCell(reverse, start)), graph, x)


class Crnn(nn.Module):
    """Convolution, batch norm, a recurrent layer, a head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 6, 3, padding=1), nn.BatchNorm1d(6)
        self.rnn = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](6, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2))
        logits: torch.Tensor = self.head(y[:, -1])
        return logits


def onnx_of(module: nn.Module, x: torch.Tensor, axes: dict[int, str]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["output"], "dynamic_axes": {"x": axes}}
        torch.onnx.export(module, (x,), cast(Any, buffer), dynamo=False, **names)
    return buffer.getvalue()


class Image(nn.Module):
    """Two-dimensional convolutions with a residual connection and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        logits: torch.Tensor = self.head(F.avg_pool2d(F.relu(h + self.second(h)), 2).flatten(1))
        return logits


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "image"])
def test_both_frontends_give_the_same_integers(kind: str) -> None:
    module = randomised(Image() if kind == "image" else Crnn(kind))
    x = data((24, 1, 8, 8) if kind == "image" else (24, 6, 3))[0]
    axes = {0: "N"} if kind == "image" else {0: "N", 1: "T"}
    direct = snnir.compile(module, calibration=x.numpy(), bits=4)
    around = snnir.compile(onnx_of(module, x, axes), calibration=x.numpy(), bits=4)
    assert float(str(direct.facts["import_error"])) < 1e-5
    test = data((6, 1, 8, 8) if kind == "image" else (6, 9, 3), seed=5)[0].numpy()
    ours, theirs = direct.reference(test), around.reference(test)
    assert np.array_equal(ours["output"], theirs["output"])
    quantized = [program.graph("quantized") for program in (direct, around)]
    integers = [sorted((v.type.shape, v.digest) for v in constants(graph)) for graph in quantized]
    assert integers[0] == integers[1]
    verification = direct.verify(test)
    assert verification.ok and verification.within_bounds


def constants(graph: Graph) -> list[Any]:
    """All constants that nodes take, bodies included."""
    found = [value for value in graph.constants if value.uses]
    return found + [value for node in graph.nodes if node.body is not None for value in constants(node.body)]


class Unrolled(nn.Module):
    """A cell called in a Python loop, which torch.export writes out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(3, 4, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 4)
        for element in x.unbind(1):
            h = self.cell(element, h)
        return h


def test_an_unrolled_loop_is_rolled_back() -> None:
    module = randomised(Unrolled())
    x = data((16, 8, 3))[0]
    program = snnir.compile(module, calibration=x.numpy(), bits=5)
    assert any(node.op.name == "scan" for node in program.graph("quantized").nodes)
    assert any("rolled" in str(note) or "scan" in str(note) for note in program.facts["remarks"])  # type: ignore[attr-defined]
    assert program.verify(x.numpy()).ok


def test_origins_are_module_paths() -> None:
    module = nn.Sequential(OrderedDict(features=nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), head=Function(torch.tanh)))
    graph = snnir.import_model(module.eval(), example_inputs=torch.randn(2, 3, 8))
    assert [node.origin for node in graph.nodes] == [("Conv1d /features.0",), ("ReLU /features.1",), ("tanh /head",)]


def test_a_saved_program(tmp_path: Path) -> None:
    module, x = randomised(Crnn("gru")), data((8, 6, 3))[0]
    path = tmp_path / "crnn.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("samples")},))
        torch.export.save(exported, path)
    for source in (exported, path, str(path)):
        graph = snnir.import_model(source)
        assert str(graph.inputs[0].type) == "Nx6x3:f32"
        assert snnir.api.check_import(source, graph, {"x": x.numpy()}) < 1e-5
    np.save(tmp_path / "x.npy", x.numpy())
    arguments = ["compile", str(path), "--calibration", str(tmp_path / "x.npy"), "-o", str(tmp_path / "crnn.snnir"), "--json"]
    assert main(arguments) == 0
    assert main(["verify", str(tmp_path / "crnn.snnir"), str(tmp_path / "x.npy"), "--model", str(path), "--json"]) == 0


def test_a_damaged_or_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    with pytest.raises(ModelError, match="does not exist"):
        snnir.import_model(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(ModelError, match=r"broken.pt2 cannot be read"):
        snnir.import_model(path)


def test_training_mode_is_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    with pytest.raises(UnsupportedError, match=r"training mode.*Dropout /1.*call eval\(\)"):
        snnir.import_model(module, example_inputs=torch.randn(2, 3))


def test_a_branch_on_values_is_refused() -> None:
    module = Function(lambda x: x + 1 if x.sum() > 0 else x - 1).eval()
    with pytest.raises(UnsupportedError, match="branches on the values of its input"):
        snnir.import_model(module, example_inputs=torch.randn(2, 3))


def test_all_unknown_operators_are_listed_with_path_and_line() -> None:
    module = nn.Sequential(nn.Linear(3, 4), Function(lambda x: x.cumsum(1)), Function(lambda x: torch.sort(x, 1)[0])).eval()
    with pytest.raises(UnsupportedError) as caught:
        snnir.import_model(module, example_inputs=torch.randn(2, 3))
    text = str(caught.value)
    assert "holds 2 nodes" in text
    for part in ("aten.cumsum.default in Function /1", "aten.sort.default in Function /2", "test_torch_import.py, line"):
        assert part in text


def test_a_fixed_length_and_a_fixed_batch_are_noted() -> None:
    fixed = Function(lambda x: x.reshape(2, 12)).eval()
    graph = snnir.import_model(fixed, example_inputs=torch.randn(2, 3, 4))
    assert any("batch stays fixed" in note for note in graph.notes)
    with pytest.raises(UsageError, match="example_inputs"):
        snnir.import_model(fixed)


def test_a_batch_of_one_and_named_axes() -> None:
    graph = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(1, 3))
    assert str(graph.inputs[0].type) == "Nx3:f32"
    graph = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(5, 2, 3), batch_axes={"input": 1})
    assert str(graph.inputs[0].type) == "TxNx3:f32"
    with pytest.raises(ModelError, match="batch_axes names y"):
        snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(5, 3), batch_axes={"y": 0})


def test_arguments_by_name_and_dynamic_shapes() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, *, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return a - b * scale

    module = Two().eval()
    example = {"a": torch.randn(2, 3), "b": torch.randn(2, 3), "scale": 0.5}
    graph = snnir.import_model(module, example_inputs=example)
    assert [value.name for value in graph.inputs] == ["a", "b"]
    same(module, graph, *data((4, 3), (4, 3)), example=example)
    fixed = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(2, 5, 3), dynamic_shapes=({0: DYNAMIC},))
    assert str(fixed.inputs[0].type) == "Nx5x3:f32"


def test_integers_and_complex_numbers_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="only real inputs"):
        snnir.import_model(nn.Embedding(5, 3).eval(), example_inputs=torch.tensor([[1, 2]]))


def test_packed_sequences_and_projections_are_refused_by_name() -> None:
    gru = nn.GRU(3, 4, batch_first=True).eval()
    packed = Function(lambda x: gru(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True))[1], gru).eval()
    with pytest.raises(UnsupportedError, match="packs sequences"):
        snnir.import_model(packed, example_inputs=torch.randn(2, 5, 3))
    with pytest.raises(UnsupportedError, match="proj_size"):
        snnir.import_model(nn.LSTM(3, 4, proj_size=2).eval(), example_inputs=torch.randn(5, 2, 3))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_cells_in_a_loop(kind: str) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(3, 4) if kind == "gru" else nn.LSTMCell(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = c = torch.zeros(x.shape[0], 4)
            for element in x.unbind(1):
                if kind == "gru":
                    h = self.cell(element, h)
                else:
                    h, c = self.cell(element, (h, c))
            return h

    graph = check(Loop(), (2, 5, 3))
    assert graph.notes == ["input x: lengths stay those of the example, Nx5x3:f32"]
