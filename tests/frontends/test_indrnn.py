"""snnir.torch.IndRNN: what it computes, its gradients and bounds, and both ways into snnir."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

import snnir
import snnir.torch
from snnir.compiler.importing import check_import
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.ops import Mul, Scan
from snnir.passes import Context, parse_pipeline, run_pipeline
from snnir.torch.recurrence import recurrence


def trained(**options: Any) -> snnir.torch.IndRNN:
    """An IndRNN whose batch norms have seen data."""
    torch.manual_seed(0)
    layer = snnir.torch.IndRNN(3, 5, 2, length=12, **options)
    for _ in range(4):
        layer(torch.randn(4, 6, 3) if layer.batch_first else torch.randn(6, 4, 3))
    return layer.eval()


class Classifier(nn.Module):
    """IndRNN and a head on its last element."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.rnn = trained(**options)
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.rnn(x)[0][:, -1])
        return logits


def by_onnx(module: nn.Module, x: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            cast("Any", buffer),
            dynamo=False,
            input_names=["x"],
            output_names=["output"],
            dynamic_axes={"x": {0: "N", 1: "T"}},
        )
    return buffer.getvalue()


def loop(layer: snnir.torch.IndRNN, x: torch.Tensor) -> torch.Tensor:
    for linear, u in zip(layer.inputs, layer.recurrent, strict=True):
        state, rows = x.new_zeros(x.shape[0], layer.hidden_size), []
        for element in linear(x).unbind(1):
            state = getattr(torch, layer.nonlinearity)(element + u * state)
            rows.append(state)
        x = torch.stack(rows, 1)
    return x


@pytest.mark.parametrize("word", ["relu", "tanh"])
def test_values_and_gradients_are_those_of_a_loop(word: str) -> None:
    layer = trained(nonlinearity=word).double()
    x = torch.randn(4, 9, 3, dtype=torch.double, requires_grad=True)
    weights = [x, *layer.parameters()]
    found, expected = layer(x)[0], loop(layer, x)
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found.square().sum(), weights)
    theirs = torch.autograd.grad(expected.square().sum(), weights)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("word", ["relu", "tanh"])
def test_the_analytic_gradient(word: str) -> None:
    torch.manual_seed(1)
    z, u, first = (torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in ((2, 5, 3), (3,), (2, 3)))
    assert torch.autograd.gradcheck(lambda z, u, first: recurrence(z, u, first, word), (z, u, first))


@pytest.mark.parametrize("word", ["relu", "tanh"])
def test_other_devices_take_the_other_way_to_the_same(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    z, u, first = (torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in ((2, 5, 3), (3,), (2, 3)))
    expected = recurrence(z, u, first, word)
    monkeypatch.setattr("snnir.torch.recurrence._compiled", lambda tensor: False)
    torch.testing.assert_close(recurrence(z, u, first, word), expected)
    assert torch.autograd.gradcheck(lambda z, u, first: recurrence(z, u, first, word), (z, u, first))


def test_recurrent_weights_start_and_stay_within_their_bound() -> None:
    layer = snnir.torch.IndRNN(3, 50, 2, length=20, maximum=4.0)
    assert layer.bound == pytest.approx(4 ** (1 / 20))
    first, last = (weight.detach() for weight in layer.recurrent)
    assert float(first.min()) >= 0 and float(last.min()) >= 1 / layer.bound and float(last.max()) <= layer.bound
    with torch.no_grad():
        first.fill_(3.0)
    layer(torch.randn(2, 4, 3))
    assert float(first.max()) == pytest.approx(layer.bound)
    assert snnir.torch.IndRNN(3, 5).bound == 1.0


def test_layouts_and_initial_states() -> None:
    layer = trained()
    x, first = torch.randn(4, 7, 3), torch.randn(2, 4, 5)
    y, last = layer(x, first)
    halves = layer(x[:, :3], first)
    again, end = layer(x[:, 3:], halves[1])
    torch.testing.assert_close(torch.cat([halves[0], again], 1), y)
    torch.testing.assert_close(end, last)
    layer.batch_first = False
    torch.testing.assert_close(layer(x.transpose(0, 1), first)[0], y.transpose(0, 1))


def scans(graph: Graph) -> list[tuple[object, ...]]:
    """What the scans of a graph compute, without names: ops, and digests of their constants."""
    passes = parse_pipeline("fold-constants,lower-recurrent,canonicalize,remove-dead-code")
    simple = run_pipeline(graph, passes, Context(None), check=False)[-1].graph
    found: list[tuple[object, ...]] = []
    for node in simple.nodes:
        if isinstance(node.op, Scan):
            assert node.body is not None
            constants = sorted((value.type.shape, value.digest) for value in node.body.constants)
            found.append((node.op, sorted(inner.op.name for inner in node.body.nodes), constants))
            states = node.body.inputs[: node.op.states]
            assert all(isinstance(user.op, Mul) for value in states for user in value.users), "the recurrence is one to one"
    return found


def test_batch_norm_in_training_is_that_of_pytorch() -> None:
    torch.manual_seed(0)
    layer, norm = snnir.torch.IndRNN(3, 5, batch_norm="input").double(), nn.BatchNorm1d(5).double()
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    layer.norms[0].load_state_dict(norm.state_dict())
    for _ in range(3):
        x = torch.randn(4, 6, 3, dtype=torch.float64)
        found, _ = layer(x)
        z = norm(layer.inputs[0](x).transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(found, recurrence(z, layer.recurrent[0], x.new_zeros(4, 5), "relu"))
    for name, tensor in norm.state_dict().items():
        torch.testing.assert_close(layer.norms[0].state_dict()[name], tensor)


@pytest.mark.parametrize("norm", [None, "input", "output"])
@pytest.mark.parametrize("word", ["relu", "tanh"])
def test_both_ways_into_snnir_give_the_same_network(norm: str | None, word: str) -> None:
    module = Classifier(batch_norm=norm, nonlinearity=word).eval()
    x = torch.randn(16, 6, 3)
    direct = snnir.import_model(module, example_inputs=x)
    around = snnir.import_model(by_onnx(module, x))
    assert [str(size) for size in direct.inputs[0].type.shape] == ["N", "T", "3"]
    assert check_import(module, direct, {"x": x.numpy()}) < 1e-5
    assert len(scans(direct)) == 2
    assert scans(direct) == scans(around)
    one = snnir.compile(module, calibration=x.numpy(), bits=4)
    two = snnir.compile(by_onnx(module, x), calibration=x.numpy(), bits=4)
    test = torch.randn(8, 9, 3).numpy()
    first, second = one.reference(test), two.reference(test)
    assert all(np.array_equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    verification = one.verify(test)
    assert verification.ok and verification.within_bounds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonlinearity": "gelu"}, "choose relu or tanh"),
        ({"batch_norm": "both"}, "choose input, output or None"),
        ({"length": 0}, "1 or more"),
        ({"maximum": 0.5}, "1 or more"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        snnir.torch.IndRNN(3, 4, **options)


def test_without_torch_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import snnir, snnir.torch\n"
        "from snnir.errors import UsageError\n"
        "try:\n    snnir.torch.IndRNN\nexcept UsageError as error:\n    print(error)\n"
        "try:\n    snnir.import_model('model.pt2')\nexcept UsageError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.count("pip install 'snnir[torch]'") == 2
