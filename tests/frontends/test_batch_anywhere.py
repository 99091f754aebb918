"""Models with their batch anywhere, folded into other axes, fixed, or with none: any number of samples, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
Shape = Sequence[int | str]


def model_of(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Shape], outputs: Mapping[str, int], **arrays: np.ndarray
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in outputs.items()]
    graph = helper.make_graph(list(nodes), "batch", given, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) / np.sqrt(shape[-1]), np.float32)


def crnn(batch: int | str) -> onnx.ModelProto:
    """A convolution, an LSTM in both directions, then [T, N, H] -> [T*N, H] -> Linear -> [T, N, classes]."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r", "two"], ["m"], keepdims=0),
        node("Transpose", ["m"], ["s"], perm=[2, 0, 1]),
        node("LSTM", ["s", "W", "R"], ["Y"], hidden_size=5, direction="bidirectional"),
        node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "joined"], ["h"]),
        node("Shape", ["h"], ["hs"]),
        node("Gather", ["hs", "zero"], ["steps"]),
        node("Gather", ["hs", "one"], ["samples"]),
        node("Mul", ["steps", "samples"], ["rows"]),
        node("Concat", ["rows", "ten"], ["flat"], axis=0),
        node("Reshape", ["h", "flat"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["g"], transB=1),
        node("Concat", ["steps", "samples", "four"], ["unflat"], axis=0),
        node("Reshape", ["g", "unflat"], ["y"]),
    ]
    numbers = {name: np.array([value]) for name, value in {"zero": 0, "one": 1, "two": 2, "four": 4, "ten": 10}.items()}
    weights = {"k": real(3, 1, 3, 3), "W": real(2, 20, 3), "R": real(2, 20, 5), "w": real(4, 10), "b": real(4)}
    return model_of(nodes, {"x": [batch, 1, 4, 7]}, {"y": 3}, joined=np.array([0, 0, 10]), **numbers, **weights)


@pytest.mark.parametrize("batch", [1, "batch", "anything"])
def test_time_and_batch_folded_before_a_linear_layer(batch: int | str) -> None:
    model, x = crnn(batch), RNG.normal(size=(6, 1, 4, 7)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=6)
    assert str(program.graph("float").outputs["y"].type) == "7xNx4:f32"
    assert program.verify(x).ok
    expected = run_onnxruntime(model, {"x": x}, {"y": 1})["y"]
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_frames_go_through_a_convolution_before_a_recurrent_layer(batch: int | str) -> None:
    node = helper.make_node
    count = -1 if isinstance(batch, str) else batch
    nodes = [
        node("Reshape", ["x", "images"], ["i"]),
        node("Conv", ["i", "k"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Reshape", ["r", "frames"], ["s"]),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("GRU", ["t", "W", "R"], ["", "h"], hidden_size=4),
        node("Squeeze", ["h", "zero"], ["y"]),
    ]
    sizes = {
        "images": np.array([5 * count if count > 0 else -1, 1, 3, 3]),
        "frames": np.array([count, 5, 8]),
        "zero": np.array([0]),
    }
    weights = {"k": real(2, 1, 2, 2), "W": real(1, 12, 8), "R": real(1, 12, 4)}
    model = model_of(nodes, {"x": [batch, 5, 1, 3, 3]}, {"y": 2}, **sizes, **weights)
    x = RNG.normal(size=(7, 5, 1, 3, 3)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=6)
    assert program.run(x).outputs["y"].shape == (7, 4)
    assert program.verify(x).ok


def states_as_vectors() -> onnx.ModelProto:
    """x[T, features] and a state [H], as madmom's networks have them."""
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["x", "one"], ["s"]),
        node("Unsqueeze", ["h0", "zeros"], ["h"]),
        node("RNN", ["s", "W", "R", "", "", "h"], ["Y", "Yh"], hidden_size=6),
        node("Squeeze", ["Y", "ends"], ["q"]),
        node("MatMul", ["q", "M"], ["y"]),
        node("Squeeze", ["Yh", "zeros"], ["hn"]),
    ]
    axes = {"one": np.array([1]), "zeros": np.array([0, 1]), "ends": np.array([1, 2])}
    weights = {"W": real(1, 6, 5), "R": real(1, 6, 6), "M": real(6, 1)}
    return model_of(nodes, {"x": ["T", 5], "h0": [6]}, {"y": 2, "hn": 1}, **axes, **weights)


@pytest.mark.parametrize("axes", [None, {"x": None, "h0": None}])
def test_a_sequence_and_a_state_without_a_batch(axes: dict[str, int | None] | None) -> None:
    model = states_as_vectors()
    data = {"x": RNG.normal(size=(4, 9, 5)).astype(np.float32), "h0": RNG.normal(size=(4, 6)).astype(np.float32)}
    program = snnir.compile(model, calibration=data, bits=6, batch_axes=axes)
    assert {name: str(value.type) for name, value in program.graph("float").outputs.items()} == {
        "y": "NxTx1:f32",
        "hn": "Nx6:f32",
    }
    assert program.verify(data).ok
    graph = program.graph("float")
    for n in range(4):
        alone = run_onnxruntime(model, {name: array[n] for name, array in data.items()})
        np.testing.assert_allclose(execute(graph, data)["y"][n], alone["y"], atol=1e-5)


def split_states(batch: int | str) -> onnx.ModelProto:
    """x[N, features] for one step, and both states of an LSTM in one tensor, [2, N, H]."""
    node = helper.make_node
    nodes = [
        node("Split", ["state", "halves"], ["h0", "c0"], axis=0),
        node("Unsqueeze", ["x", "zero"], ["q"]),
        node("LSTM", ["q", "W", "R", "", "", "h0", "c0"], ["Y", "h1", "c1"], hidden_size=4),
        node("Concat", ["h1", "c1"], ["next"], axis=0),
        node("Squeeze", ["h1", "zero"], ["y"]),
    ]
    sizes = {"zero": np.array([0]), "halves": np.array([1, 1])}
    inputs: dict[str, Shape] = {"x": [batch, 3], "state": [2, batch, 4]}
    return model_of(nodes, inputs, {"y": 2, "next": 3}, **sizes, W=real(1, 16, 3), R=real(1, 16, 4))


@pytest.mark.parametrize("axes", [None, {"state": 1}])
def test_the_batch_of_a_state_is_found_or_named(axes: dict[str, int | None] | None) -> None:
    model = split_states(1)
    data = {"x": RNG.normal(size=(5, 3)).astype(np.float32), "state": RNG.normal(size=(2, 5, 4)).astype(np.float32)}
    program = snnir.compile(model, calibration=data, bits=6, batch_axes=axes)
    assert str(program.graph("float").outputs["next"].type) == "2xNx4:f32"
    assert program.verify(data).ok


def test_sizes_that_hide_the_batch_of_1() -> None:
    """Reshapes to constant sizes and a transpose between them: samples are computed one as the other."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "W"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Reshape", ["r", "square"], ["q"]),
        node("Transpose", ["q"], ["t"], perm=[1, 0]),
        node("Reshape", ["t", "row"], ["u"]),
        node("MatMul", ["u", "V"], ["y"]),
    ]
    sizes = {"square": np.array([2, 4]), "row": np.array([1, 8])}
    model = model_of(nodes, {"x": [1, 6]}, {"y": 2}, **sizes, W=real(6, 8), V=real(8, 2))
    x = RNG.normal(size=(64, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=6)
    assert program.run(x).outputs["y"].shape == (64, 2)
    assert program.verify(x).ok


@pytest.mark.parametrize("gain", [1, 3000])
def test_rounding_is_not_taken_for_samples_that_depend_on_one_another(gain: int) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Relu", ["a"], ["q"]),
        helper.make_node("MatMul", ["q", "V"], ["y"]),
    ]
    model = model_of(nodes, {"x": [1, 256]}, {"y": 2}, W=real(256, 512), V=real(512, 1000) * np.float32(gain))
    assert snnir.check(model).notes == ("exported with a fixed batch of 1; generalised to any batch",)


def test_one_row_repeated_for_every_sample_of_the_exported_batch() -> None:
    nodes = [helper.make_node("Add", ["x", "rows"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    model = model_of(nodes, {"x": [8, 3]}, {"y": 2}, rows=np.repeat(real(1, 3), 8, axis=0))
    graph = snnir.import_model(model)
    assert str(graph.inputs[0].type) == "Nx3:f32"
    x = RNG.normal(size=(16, 3)).astype(np.float32)
    np.testing.assert_allclose(execute(graph, {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-6)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "ReduceMean"])
def test_what_mixes_samples_is_refused_by_name(operator: str) -> None:
    inputs = ["a", "zero"] if operator == "ReduceMean" else ["a"]
    mixes = helper.make_node(operator, inputs, ["y"], "mixes")
    mixes.attribute.append(helper.make_attribute(*(("keepdims", 1) if operator == "ReduceMean" else ("axis", 0))))
    nodes = [helper.make_node("MatMul", ["x", "W"], ["a"]), mixes]
    arrays = {"W": real(6, 3), **({"zero": np.array([0])} if operator == "ReduceMean" else {})}
    model = model_of(nodes, {"x": ["batch", 6]}, {"y": 2}, **arrays)
    with pytest.raises(UnsupportedError, match=f"mix the samples of the batch:\\s+{operator} mixes"):
        snnir.compile(model, calibration=RNG.normal(size=(8, 6)).astype(np.float32))
    assert not snnir.check(model).ok


class OneSample(nn.Module):
    """Reshapes to constant sizes, and a transpose between them, of one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.relu(self.first(x)).reshape(2, 4).t().reshape(1, 8))
        return y


def test_modules_that_take_one_sample() -> None:
    torch.manual_seed(0)
    module, x = OneSample().eval(), RNG.normal(size=(24, 6)).astype(np.float32)
    program = snnir.compile(module, calibration=x, bits=6, example_inputs=(torch.from_numpy(x[:1]),))
    assert any("each sample is computed by itself" in note for note in program.graph("float").notes)
    with torch.no_grad():
        expected = np.concatenate([module(torch.from_numpy(x[n : n + 1])).numpy() for n in range(24)])
    assert np.corrcoef(next(iter(program.run(x).outputs.values())).ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x).ok


class Crnn(nn.Module):
    """Time first behind a convolution; rows of time and batch folded before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3, padding=1)
        self.recurrent, self.head = nn.LSTM(3, 4, bidirectional=True), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.recurrent(torch.relu(self.convolution(x)).mean(2).permute(2, 0, 1))
        steps, samples, width = y.shape
        found: torch.Tensor = self.head(y.reshape(steps * samples, width)).reshape(steps, samples, 5)
        return found


def test_a_module_that_folds_time_and_batch() -> None:
    torch.manual_seed(0)
    module, x = Crnn().eval(), RNG.normal(size=(7, 1, 4, 6)).astype(np.float32)
    program = snnir.compile(module, calibration=x, bits=6)
    assert next(iter(program.run(x).outputs.values())).shape == (6, 7, 5)
    assert program.verify(x).ok


class Stateful(nn.Module):
    """A GRU whose state is an argument, with its batch at axis 1."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(5, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, last = self.recurrent(x, h)
        return self.head(y), last


def test_a_module_with_its_state_as_argument_streams() -> None:
    torch.manual_seed(0)
    x, h = RNG.normal(size=(6, 9, 5)).astype(np.float32), np.zeros((1, 6, 4), np.float32)
    program = snnir.compile(Stateful().eval(), calibration={"x": x, "h": h}, bits=5)
    whole, stream = program.run({"x": x, "h": h}), program.stream()
    first = next(iter(whole.outputs))
    parts = [stream(x[:, :4]).outputs[first], stream(x[:, 4:]).outputs[first]]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole.outputs[first])


def test_initial_states_that_are_tiled_over_the_batch() -> None:
    """As PaddlePaddle writes them: a constant state repeated as often as the input has samples."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["samples"]),
        node("Concat", ["once", "samples", "once"], ["times"], axis=0),
        node("Tile", ["h0", "times"], ["h"], "tile"),
        node("GRU", ["x", "W", "R", "", "", "h"], ["", "y3"], hidden_size=4),
        node("Squeeze", ["y3", "zero"], ["y"]),
    ]
    numbers = {"one": np.array([1]), "once": np.array([1]), "zero": np.array([0])}
    model = model_of(nodes, {"x": ["T", "batch", 3]}, {"y": 2}, **numbers, h0=real(1, 1, 4), W=real(1, 12, 3), R=real(1, 12, 4))
    x = RNG.normal(size=(5, 12, 3)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=6)
    assert program.run(x).outputs["y"].shape == (12, 4)
    assert program.verify(x).ok


@pytest.mark.parametrize("shape", [[3, 2], [1, 2]])
def test_constants_tiled_over_an_open_length(shape: list[int]) -> None:
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["length"]),
        node("Concat", ["length", "once"], ["times"], axis=0),
        node("Tile", ["c", "times"], ["t"], "tile"),
        node("Tile", ["x", "thrice"], ["xs"], "more"),
        node("Add", ["xs", "t"], ["y"]),
    ]
    numbers = {"one": np.array([1]), "once": np.array([1]), "thrice": np.array([1, shape[0], 1])}
    model = model_of(nodes, {"x": ["batch", "T", 2]}, {"y": 3}, **numbers, c=real(*shape))
    x = RNG.normal(size=(4, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        execute(snnir.import_model(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("shape", "matrices", "left"),
    [
        ([2, "N", 3], (2, 3, 4), False),
        ([2, 3, "N"], (2, 4, 3), True),
        ([1, 2, "N", 3], (2, 3, 4), False),
        ([2, "N", 5, 3], (2, 1, 3, 4), False),
        ([2, "N", 3, 5], (1, 4, 3), True),
    ],
)
def test_a_matrix_for_each_head_beside_a_batch_anywhere(
    shape: Sequence[int | str], matrices: tuple[int, ...], left: bool
) -> None:
    sides = ["w", "x"] if left else ["x", "w"]
    nodes = [helper.make_node("MatMul", sides, ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    model = model_of(nodes, {"x": shape}, {"y": len(shape)}, w=real(*matrices))
    x = np.asarray(RNG.normal(size=[size if isinstance(size, int) else 9 for size in shape]), np.float32)
    program = snnir.compile(model, calibration=x, batch_axes={"x": shape.index("N")})
    assert not program.facts.host_nodes
    np.testing.assert_allclose(execute(program.graph("float"), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-5)
    report = program.verify(x)
    assert report.ok and report.compared


def test_an_open_batch_that_a_state_of_one_sample_forces_to_one() -> None:
    """As an exporter leaves it that calls the batch of the input open and not that of the initial state."""
    node = helper.make_node
    nodes = [
        node("GRU", ["x", "W", "R", "", "", "h0"], ["Y", "H"], hidden_size=4),
        node("Squeeze", ["H"], ["s"]),
        node("Gemm", ["s2", "w"], ["g"]),
        node("Unsqueeze", ["s", "zero"], ["s2"]),
        node("Squeeze", ["g"], ["y0"]),
        node("Slice", ["y0", "zero", "two", "zero"], ["y"]),
    ]
    nodes[2], nodes[3] = nodes[3], nodes[2]
    weights = {"W": real(1, 12, 3), "R": real(1, 12, 4), "w": real(4, 5), "zero": np.array([0]), "two": np.array([2])}
    model = model_of(nodes, {"x": [6, "batch", 3], "h0": [1, 1, 4]}, {"y": 1}, **weights)
    data = {"x": RNG.normal(size=(6, 20, 3)).astype(np.float32), "h0": np.zeros((1, 20, 4), np.float32)}
    program = snnir.compile(model, calibration=data, bits=6)
    assert str(program.graph("float").outputs["y"].type) == "Nx2:f32"
    assert any("its open batch is 1: h0 is a state of one sample" in note for note in program.facts.notes or ())
    assert program.verify(data).ok


def test_values_padded_and_spread_beside_a_batch_at_axis_1() -> None:
    """As tf2onnx writes layers distributed over time: positions first, then the batch, padded along the positions."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "w"], ["m"]),
        node("Relu", ["m"], ["r"]),
        node("Pad", ["r", "amounts"], ["p"]),
        node("Max", ["p", "r2"], ["z"]),
        node("Transpose", ["z"], ["y"], perm=[1, 0, 2]),
        node("Relu", ["t2"], ["r2"]),
        node("Transpose", ["u"], ["t2"], perm=[1, 0, 2]),
    ]
    nodes = [*nodes[:4], nodes[7], nodes[6], *nodes[4:6]]
    model = model_of(nodes, {"x": ["N", 5, 3], "u": ["N", 8, 4]}, {"y": 3}, w=real(3, 4), amounts=np.array([1, 0, 0, 2, 0, 0]))
    data = {"x": RNG.normal(size=(9, 5, 3)).astype(np.float32), "u": RNG.normal(size=(9, 8, 4)).astype(np.float32)}
    program = snnir.compile(model, calibration=data, bits=6)
    assert program.verify(data).ok


def test_an_open_batch_whose_nodes_are_written_for_one_sample() -> None:
    """As an exporter leaves it that calls the batch open and folds the sizes of its example into reshapes."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "w"], ["m"]),
        node("Reshape", ["m", "split"], ["s"]),
        node("Transpose", ["s"], ["h"], perm=[2, 1, 0, 3]),
        node("Relu", ["h"], ["r"]),
        node("Reshape", ["r", "joined"], ["y"]),
    ]
    model = model_of(
        nodes, {"x": ["batch", 5, 3]}, {"y": 3}, w=real(3, 4), split=np.array([5, 1, 2, 2]), joined=np.array([1, 2, 10])
    )
    x = RNG.normal(size=(9, 5, 3)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8)
    assert any("its open batch is 1: " in note for note in program.facts.notes or ())
    assert program.verify(x).ok
    expected = run_onnxruntime(model, {"x": x})["y"]  # sample by sample, since the model fails on nine
    assert expected.shape == (9, 2, 10)
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), expected.ravel())[0, 1] > 0.999
