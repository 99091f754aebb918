"""Open sizes of inputs: what the model forces, what the user gives, and what the calibration data say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import snnir
from snnir.cli.main import main
from snnir.errors import CalibrationError, InputError, UnsupportedError, UsageError
from snnir.frontends.onnx import import_onnx
from tests.models import data

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 3, 12, 10)).astype(np.float32)


def model(
    nodes: list[onnx.NodeProto], shape: list[str | int | None], rank: int, weights: dict[str, np.ndarray]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{axis}" for axis in range(rank)])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def mlp(shape: list[str | int | None]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    return model(nodes, shape, 2, {"v": data(np.random.default_rng(0), 6, 16), "w": data(np.random.default_rng(1), 16, 3)})


def cnn(shape: list[str | int | None], *after: onnx.NodeProto, rank: int = 4, **weights: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        *after,
    ]
    return model(nodes, shape, rank, {"w": data(np.random.default_rng(0), 4, 3, 3, 3), **weights})


def sizes_of(source: onnx.ModelProto, **options: object) -> str:
    return str(import_onnx(source, **options).inputs[0].type)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [["batch", "features"], [-1, 6], [0, 6], [None, None], ["n", -1]])
def test_a_weight_fixes_the_size_it_is_multiplied_with(shape: list[str | int | None]) -> None:
    assert sizes_of(mlp(shape)) == "Nx6:f32"


def test_the_size_that_is_found_is_noted() -> None:
    assert import_onnx(mlp(["N", "features"])).notes == [
        "features (axis 1 of input x) is 6: MatMul first computes with no other size"
    ]


def test_what_no_weight_fixes_stays_open() -> None:
    assert sizes_of(cnn(["N", "C", "H", "W"], helper.make_node("Neg", ["r"], ["y"]))) == "Nx3xHxW:f32"


@pytest.mark.parametrize("layer", ["Gemm", "BatchNormalization", "Add", "LSTM", "GRU", "RNN", "Reshape"])
def test_every_kind_of_layer_fixes_sizes(layer: str) -> None:
    rng = np.random.default_rng(0)
    shape: list[str | int | None] = ["N", "f"]
    weights: dict[str, np.ndarray] = {}
    if layer == "Gemm":
        weights, nodes = {"w": data(rng, 3, 6)}, [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    elif layer == "BatchNormalization":
        weights = {name: np.abs(data(rng, 6)) + 1 for name in ("s", "b", "m", "v")}
        nodes = [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])]
    elif layer == "Add":
        weights, nodes = {"w": data(rng, 6)}, [helper.make_node("Add", ["x", "w"], ["y"])]
    elif layer == "Reshape":
        weights, nodes = {"w": np.array([-1, 2, 3])}, [helper.make_node("Reshape", ["x", "w"], ["y"])]
        weights = {"w": np.array([0, 2, 3])}
    else:
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[layer]
        weights = {"w": data(rng, 1, gates * 5, 6), "r": data(rng, 1, gates * 5, 5)}
        nodes = [helper.make_node(layer, ["x", "w", "r"], ["y"], hidden_size=5)]
        shape = ["T", "N", "f"]
    graph = import_onnx(model(nodes, shape, len(shape), weights))
    assert graph.inputs[0].type.shape[-1] == 6


def test_equal_shapes_are_one_size() -> None:
    nodes = [helper.make_node("Add", ["x", "z"], ["s"], "sum"), helper.make_node("Relu", ["s"], ["y"])]
    two = model(nodes, ["N", "a"], 2, {})
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", "c"]))
    first, second = import_onnx(two).inputs
    assert first.type == second.type


POOL = helper.make_node("GlobalAveragePool", ["r"], ["y"], "pool")
RESIZE = helper.make_node(
    "Resize", ["r", "", "scales"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
)
SAME = helper.make_node("MaxPool", ["r"], ["y"], "same", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
LARGEST = helper.make_node("ReduceMax", ["r"], ["y"], axes=[3], keepdims=0)
SCALES = np.array([1, 1, 1.5, 1.5], np.float32)


@pytest.mark.parametrize("node", [POOL, RESIZE, SAME, LARGEST], ids=["mean", "resize", "same", "max"])
def test_calibration_data_fix_what_the_model_needs(node: onnx.NodeProto) -> None:
    source = cnn(["N", 3, "h", "w"], node, rank=3 if node is LARGEST else 4, scales=SCALES)
    assert snnir.check(source, calibration=IMAGES).ok
    program = snnir.compile(source, calibration=IMAGES)
    assert program.verify(IMAGES).mismatches == 0


def test_numbers_by_name_and_by_axis() -> None:
    source = cnn(["N", 3, "h", "w"], RESIZE, scales=SCALES)
    assert sizes_of(source, dims={"h": 12, "x:3": 10}) == "Nx3x12x10:f32"
    assert snnir.check(source, dims={"h": 12, "w": 10}).ok
    with pytest.raises(UsageError, match="open sizes of the model's inputs are N, h, w"):
        import_onnx(source, dims={"height": 12})
    with pytest.raises(UsageError, match="neither a number from 1 on nor an upper end"):
        import_onnx(source, dims={"h": 0})


def test_a_refusal_names_the_sizes_to_give() -> None:
    source = cnn(["N", 3, "h", "w"], RESIZE, scales=SCALES)
    found = snnir.check(source)
    assert not found.ok
    assert any("--dim h=NUMBER --dim w=NUMBER" in note for note in found.notes)


def test_the_program_refuses_other_sizes_by_name() -> None:
    program = snnir.compile(cnn(["N", 3, "h", "w"], RESIZE, scales=SCALES), calibration=IMAGES)
    note = "h (axis 2 of input x) is 12, as in the calibration data"
    assert any(note in each for each in program.facts["notes"])  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"h \(axis 2 of input x\) is 12, as in the calibration data"):
        program.run(np.zeros((1, 3, 14, 10), np.float32))


def test_what_is_still_refused_is_said() -> None:
    coin = helper.make_node("Bernoulli", ["r"], ["y"], "coin")
    source = cnn(["N", 3, "h", "w"], coin)
    source.opset_import[0].version = 15
    with pytest.raises(UnsupportedError, match="random"):
        snnir.compile(source, calibration=IMAGES)


@pytest.mark.parametrize("axes", [[2], [1], [1, 2]])
def test_means_over_known_axes_leave_others_open(axes: list[int]) -> None:
    source = cnn(["N", 3, 12, "w"], helper.make_node("ReduceMean", ["r"], ["y"], axes=axes))
    program = snnir.compile(source, calibration=IMAGES)
    assert str(program.graph("float").inputs[0].type) == "Nx3x12xw:f32"
    assert program.verify(IMAGES[:2, :, :, :7]).mismatches == 0


@pytest.mark.parametrize("end", [1_000_000_000, 2**31 - 1, 2**63 - 1])
def test_a_slice_to_the_end_of_an_open_axis(end: int) -> None:
    bounds = {"s": np.array([0]), "e": np.array([end]), "axes": np.array([0])}
    nodes = [helper.make_node("Slice", ["x", "s", "e", "axes"], ["q"]), helper.make_node("Relu", ["q"], ["y"])]
    assert snnir.check(model(nodes, ["N", 6], 2, bounds)).ok


@pytest.mark.parametrize(("operator", "number"), [("Max", -np.inf), ("Min", np.inf)])
def test_an_infinity_that_is_never_chosen(operator: str, number: float) -> None:
    nodes = [helper.make_node(operator, ["x", "c"], ["y"])]
    graph = import_onnx(model(nodes, ["N", 6], 2, {"c": np.array(number, np.float32)}))
    assert graph.outputs["y"] is graph.inputs[0]


def test_an_infinity_of_the_model_is_not_blamed_on_the_calibration_data() -> None:
    rng = np.random.default_rng(0)
    weights = {"pads": np.array([0, 1, 0, 1]), "low": np.array(-np.inf, np.float32)}
    weights |= {name: rng.normal(size=shape).astype(np.float32) for name, shape in (("w", (6, 6)), ("v", (8, 3)))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r"]),
        helper.make_node("Pad", ["r", "pads", "low"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    x = rng.normal(size=(16, 6)).astype(np.float32)
    with pytest.raises(CalibrationError, match="Pad p, where the model writes an infinity"):
        snnir.compile(model(nodes, ["N", 6], 2, weights), calibration=x)
    driven = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["r", "v"], ["y"])]
    with pytest.raises(CalibrationError, match="are they scaled as the model expects"):
        snnir.compile(model(driven, ["N", 8], 2, {"v": weights["v"]}), calibration=np.full((16, 8), 3e38, np.float32))


def test_a_rank_asked_for_by_the_size_of_a_shape() -> None:
    branches = {
        key: helper.make_graph(
            [helper.make_node(operator, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
        )
        for key, operator, name in (("then_branch", "Sigmoid", "p"), ("else_branch", "Relu", "q"))
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Size", ["shape"], ["rank"]),
        helper.make_node("Equal", ["rank", "two"], ["is"]),
        helper.make_node("If", ["is"], ["y"], **branches),
    ]
    graph = import_onnx(model(nodes, ["N", 6], 2, {"two": np.array(2)}))
    assert [node.op.name for node in graph.nodes] == ["sigmoid"]


def test_the_command_line_takes_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, samples = tmp_path / "model.onnx", tmp_path / "x.npy"
    onnx.save(cnn(["N", 3, "h", "w"], RESIZE, scales=SCALES), path)
    np.save(samples, IMAGES)
    assert main(["check", str(path)]) == 1
    assert main(["check", str(path), "--dim", "h=12", "--dim", "x:3=10"]) == 0
    assert main(["check", str(path), "--shape", "x=N,3,12,10"]) == 0
    program = str(tmp_path / "model.snnir")
    assert main(["compile", str(path), "--calibration", str(samples), "-o", program, "--shape", "x=N,3,12,10"]) == 0
    assert main(["check", str(path), "--dim", "h=twelve"]) == 2
    assert main(["check", str(path), "--shape", "12"]) == 2
    assert main(["check", str(path), "--dim", "depth=3"]) == 2
    assert "open sizes of the model's inputs are N, h, w" in capsys.readouterr().err


def test_options_are_read() -> None:
    from snnir.cli.import_options import dims_of

    assert dims_of(["height=320", "x:3=5"], ["y=N,3,?,7"]) == {"height": 320, "x:3": 5, "y:1": 3, "y:3": 7}
    for wrong in ("height", "=3", "height=-1", "height=a"):
        with pytest.raises(UsageError, match="--dim"):
            dims_of([wrong], [])
