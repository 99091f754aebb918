"""Trainable modules compute the quantized graph, integer for integer, before training and after it."""

from __future__ import annotations

import copy
import io
import pickle
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

import snnir
from snnir.backends.torch import TrainableModule, to_module
from snnir.compiler.training import structural_constants, trainable
from snnir.errors import CalibrationError, UnsupportedError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Gru, Linear, Lstm, Quantize, Recurrent, Rnn, Scan, Slice
from snnir.passes import Context, default_pipeline, run_pipeline
from tests.models import crnn
from tests.random_graphs import random_graph

torch.set_num_threads(1)

CELLS = {
    "rnn": Rnn("relu"),
    "rnn-tanh": Rnn("tanh", reverse=True),
    "gru": Gru(),
    "gru-reset-after": Gru(reset_after=True),
    "lstm": Lstm(),
}


def integers_of(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Levels and sums that the executor finds; inputs of bodies, which repeat others, left out."""
    made = {value for _, node in graph.walk() if not isinstance(node.op, Scan) for value in node.outputs}
    seen: dict[str, list[np.ndarray]] = {}

    def observe(value: snnir.ir.Value, array: np.ndarray) -> None:
        if value in made and (value.type.is_levels or value.type.is_sum):
            seen.setdefault(value.name, []).append(array)

    execute(graph, inputs, observe)
    return seen


def differences(module: TrainableModule, graph: Graph, inputs: dict[str, np.ndarray]) -> tuple[int, int]:
    """How many integers of `graph` are not the module's, and how many were compared."""
    expected = integers_of(graph, inputs)
    found = module.integers(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    wrong = compared = 0
    for name, arrays in expected.items():
        if name not in found:
            continue
        assert len(found[name]) == len(arrays)
        wrong += sum(int((a != b).sum()) for a, b in zip(arrays, found[name], strict=True))
        compared += sum(array.size for array in arrays)
    assert set(expected) <= set(found)
    return wrong, compared


def quantized(graph: Graph, inputs: dict[str, np.ndarray], bits: int, weight_bits: int) -> Graph:
    passes = default_pipeline(bits, weight_bits, fit=False)
    stages = run_pipeline(graph, passes, Context(inputs), check=False)
    return next(stage.graph for stage in stages if stage.pass_.name == "quantize-weights")


def recurrent_model(op: Recurrent, rng: np.random.Generator, inputs: int = 4, hidden: int = 6) -> Graph:
    """A recurrent layer and a linear layer on its last element; x[N, 5, inputs]."""
    graph = Graph("recurrent")
    x = graph.input("x", TensorType((dim("N"), 5, inputs), "f32"))
    bias = rng.normal(size=4 * hidden if isinstance(op, Gru) else op.GATES * hidden) * 0.2
    if isinstance(op, Gru) and not op.reset_after:
        bias[3 * hidden :] = 0
    arrays = [rng.normal(size=(op.GATES * hidden, size)) * 0.5 for size in (inputs, hidden)]
    arrays += [bias, *(np.zeros((1, hidden)) for _ in range(op.STATES))]
    y = graph.add(op, x, *(graph.constant("c", array.astype(np.float32)) for array in arrays))[0]
    last = graph.add1(Slice(1, 0, 1) if getattr(op, "reverse", False) else Slice(1, -1, None), y)
    weight = graph.constant("head", rng.normal(size=(3, hidden)).astype(np.float32))
    graph.output("y", graph.add1(Linear(), last, weight))
    return graph


@pytest.mark.parametrize("seed", range(40))
def test_integers_before_training_are_those_of_the_quantized_graph(seed: int) -> None:
    graph, inputs = random_graph(seed)
    bits, weight_bits = 2 + seed % 3, 3 + seed % 4
    try:
        final = quantized(graph, inputs, bits, weight_bits)
    except UnsupportedError:
        pytest.skip("no spiking form")
    module = trainable(graph, calibration=inputs, bits=bits, weight_bits=weight_bits, check=False)
    wrong, compared = differences(module, final, inputs)
    assert wrong == 0 and compared > 0
    found = module(torch.from_numpy(inputs["x"]))
    outputs = {next(iter(final.outputs)): found} if isinstance(found, torch.Tensor) else found
    for name, array in execute(final, inputs).items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(outputs[name].detach().numpy(), array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(30))
def test_integers_after_steps_of_training_are_those_of_the_program(seed: int) -> None:
    """Random graphs, three steps far too large for weights and scales, so that grids and kinds of thresholds change."""
    graph, inputs = random_graph(seed)
    try:
        module = trainable(graph, calibration=inputs, bits=2 + seed % 3, weight_bits=3 + seed % 4, check=False)
    except UnsupportedError:
        pytest.skip("no spiking form")
    x = torch.from_numpy(inputs["x"])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(3):
        found = module(x)
        outputs = [found] if isinstance(found, torch.Tensor) else list(found.values())
        loss = sum((y.square().mean() for y in outputs if y.requires_grad), torch.zeros(()))
        if not loss.requires_grad:
            assert not any(y.is_floating_point() for y in outputs)
            pytest.skip("only indices leave the network")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    program = snnir.compile(module)
    unseen = {"x": inputs["x"][::-1].copy() * np.float32(1.5)}
    wrong, compared = differences(module, program.graph("quantized"), unseen)
    assert wrong == 0 and compared > 0
    assert program.verify(unseen).mismatches == 0


@pytest.mark.parametrize("cell", CELLS)
def test_training_lowers_the_loss_and_the_program_has_the_integers_of_the_module(cell: str) -> None:
    rng = np.random.default_rng(3)
    graph = recurrent_model(CELLS[cell], rng)
    x = rng.normal(size=(96, 5, 4)).astype(np.float32)
    target = torch.from_numpy((x[:, -1:, :3] > 0).astype(np.int64).argmax(2)[:, 0])
    module = trainable(graph, calibration=x, bits=3, weight_bits=4)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        y = module(torch.from_numpy(x))
        assert isinstance(y, torch.Tensor)
        loss = torch.nn.functional.cross_entropy(y[:, 0], target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    program = snnir.compile(module)
    unseen = rng.normal(size=(64, 5, 4)).astype(np.float32) * 1.5
    wrong, compared = differences(module, program.graph("quantized"), {"x": unseen})
    assert wrong == 0 and compared > 1000
    verification = program.verify(unseen[:16])
    assert verification.ok and verification.mismatches == 0
    np.testing.assert_array_equal(program.run(unseen[:16]).outputs["y"], module(torch.from_numpy(unseen[:16])).detach().numpy())


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_reach_every_weight_and_scale(cell: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 5, 4)).astype(np.float32)
    module = trainable(recurrent_model(CELLS[cell], rng), calibration=x, bits=4, weight_bits=6)
    y = module(torch.from_numpy(x))
    assert isinstance(y, torch.Tensor)
    torch.autograd.backward(y.square().sum())
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, name


def test_gradients_are_those_of_lsq() -> None:
    """One linear layer and its quantizer: d(s q)/ds = q - x/s inside the bounds and the bound outside, times the share."""
    graph = Graph("lsq")
    x = graph.input("x", TensorType((dim("N"), 1), "f32"))
    graph.output("y", graph.add1(Linear(), x, graph.constant("w", np.array([[1.0]], np.float32))))
    data = np.linspace(-1, 1, 21, dtype=np.float32).reshape(21, 1)
    module = trainable(graph, calibration=data, input_bits=2, weight_bits=16)
    (scale,) = module.scales()
    (levels,) = (node.op.quantization for node in module.trained_graph().nodes if isinstance(node.op, Quantize))
    lo, hi = levels.lo, levels.hi
    assert lo < 0 < hi == lo + 3
    for value in (-3.0, -0.3, 0.1, 0.45, 2.0):
        module.zero_grad()
        y = module(torch.tensor([[value]], dtype=torch.float32))
        assert isinstance(y, torch.Tensor)
        torch.autograd.backward(y.sum())
        level = min(max(np.floor(value / scale + 0.5), lo), hi)
        inside = level - value / scale if lo <= value / scale <= hi else level
        share = 1 / np.sqrt(1 * 2)
        gradient = module.log_scales[0].grad
        assert gradient is not None
        assert float(gradient) == pytest.approx(inside * scale * share, rel=1e-3, abs=1e-6)


def test_scales_that_must_be_equal_are_one_parameter_and_stay_positive() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4, 6)).astype(np.float32)
    module = trainable(crnn(rng), calibration=x, bits=3, weight_bits=4)
    assert len(module.log_scales) == len(module.groups) == 3
    assert max(len(nodes) for nodes in module.groups) == 2
    with torch.no_grad():
        for parameter in module.log_scales:
            parameter.sub_(20.0)
    assert all(scale > 0 for scale in module.scales())
    program = snnir.compile(module)
    assert differences(module, program.graph("quantized"), {"x": x})[0] == 0


def test_state_and_program_are_saved_and_loaded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4, 6)).astype(np.float32)
    model = crnn(rng)
    first, second = (trainable(model, calibration=x, bits=3, weight_bits=4) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    second.load_state_dict(first.state_dict())
    assert second.trained_graph() == first.trained_graph()
    program = snnir.compile(first)
    program.save(tmp_path / "trained.snnir")
    loaded = snnir.load(tmp_path / "trained.snnir")
    for level in ("float", "quantized", "spiking"):
        assert loaded.graph(level) == program.graph(level)
    assert loaded.verify(x).mismatches == 0


def test_scales_are_the_first_ones_until_they_move() -> None:
    """Those of states that products align have more digits than what trains is rounded to."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 5, 4)).astype(np.float32)
    module = trainable(recurrent_model(Gru(), rng), calibration=x, bits=3, weight_bits=4)
    first = [nodes[0].expect(Quantize).quantization.scale for nodes in module.groups]
    assert module.scales() == first
    aligned = [index for index, scale in enumerate(first) if scale != float(f"{scale:.6g}")]
    assert aligned
    with torch.no_grad():
        for parameter in module.log_scales:
            parameter.add_(1e-5)
    assert all(scale == float(f"{scale:.6g}") != old for scale, old in zip(module.scales(), first, strict=True))


def test_compile_without_calibration_says_so() -> None:
    with pytest.raises(CalibrationError, match="calibration data"):
        snnir.compile(crnn(np.random.default_rng(0)))


@pytest.mark.parametrize("way", ["copy", "pickle", "save"])
def test_modules_are_copied_pickled_and_saved(way: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4, 6)).astype(np.float32)
    module = trainable(crnn(rng), calibration=x, bits=3, weight_bits=4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if way == "save":
        buffer = io.BytesIO()
        torch.save(module, buffer)
        buffer.seek(0)
        again = torch.load(buffer, weights_only=False)
    else:
        again = copy.deepcopy(module) if way == "copy" else pickle.loads(pickle.dumps(module))
    given = torch.from_numpy(x)
    assert torch.equal(again(given), module(given))
    assert snnir.compile(again).graph("quantized") == snnir.compile(module).graph("quantized")
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.mul_(0.5)
    assert not torch.equal(again(given), module(given))


def test_the_digits_crnn_at_two_bits_has_the_integers_of_its_module_on_every_digit() -> None:
    """A short distillation from the float network, then all held-out digits: no integer differs, at any level."""
    folder = files("snnir") / "data"
    graph = snnir.import_model((folder / "digits-crnn.onnx").read_bytes())
    with as_file(folder / "digits.npz") as path, np.load(path) as archive:
        calibration, test = archive["calibration"], archive["test"]
    module = trainable(graph, calibration=calibration, bits=2, weight_bits=4)
    x = torch.from_numpy(calibration)
    with torch.no_grad():
        goal = to_module(graph)(x)
    assert isinstance(goal, torch.Tensor)
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
    losses = []
    for _ in range(20):
        y = module(x)
        assert isinstance(y, torch.Tensor)
        loss = torch.nn.functional.cross_entropy(y, goal.softmax(1))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    program = snnir.compile(module)
    (name,) = (value.name for value in graph.inputs)
    wrong, compared = differences(module, program.graph("quantized"), {name: test})
    assert wrong == 0 and compared > 1_000_000
    verification = program.verify(test)
    assert verification.mismatches == 0 and verification.compared > 700_000


@pytest.mark.parametrize("cell", CELLS)
def test_numbers_of_formulas_do_not_train(cell: str) -> None:
    rng = np.random.default_rng(2)
    graph, x = recurrent_model(CELLS[cell], rng), rng.normal(size=(32, 5, 4)).astype(np.float32)
    module = trainable(graph, calibration=x, bits=4, weight_bits=6)
    fixed = structural_constants(graph, module.source)
    assert bool(fixed) == cell.startswith("gru") and all(module.parameter(value) is None for value in fixed)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    y = module(torch.from_numpy(x))
    assert isinstance(y, torch.Tensor)
    torch.autograd.backward(y.square().sum())
    optimizer.step()
    kept = {value.name: value.array for inner, _ in module.trained_graph().walk() for value in inner.constants}
    assert all(np.array_equal(kept[value.name], value.array) for value in fixed)


def test_only_what_the_model_holds_trains() -> None:
    rng = np.random.default_rng(4)
    shapes = {"w": (4, 1, 3, 3), "b": (4,), "vt": (3, 16)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Transpose", ["vt"], ["v"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()]
    x, y = helper.make_tensor_value_info("x", 1, ["N", 1, 4, 4]), helper.make_tensor_value_info("y", 1, ["N", 3])
    model = helper.make_model(
        helper.make_graph(nodes, "pool", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    module = trainable(model, calibration=rng.normal(size=(16, 1, 4, 4)).astype(np.float32))
    assert sorted(tuple(parameter.shape) for parameter in module.weights.values()) == [(3, 16), (4,), (4, 1, 3, 3)]
