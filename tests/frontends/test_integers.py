"""Integer parts before and behind a network: the host computes them as ONNX Runtime does, and the spikes are exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

import snnir
from snnir.errors import ModelError, UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute
from tests.ir.test_integers import DRAWS, drawn

KINDS = {
    "i8": TensorProto.INT8, "i16": TensorProto.INT16, "i32": TensorProto.INT32, "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8, "u16": TensorProto.UINT16, "u32": TensorProto.UINT32, "u64": TensorProto.UINT64,
}  # fmt: skip
BINARY = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "Max",
    "Min",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "BitShift",
]
BINARY += ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]
UNARY = [
    "Neg",
    "Abs",
    "Sign",
    "BitwiseNot",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "CumSum",
    "Trilu",
    "ArgMax",
    "ArgMin",
]
UNARY += ["Clip", "TopK", "Cast", "Where", "Pad"]


def model_with(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    outputs: Mapping[str, int],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Inputs as element type and shape, outputs as element type."""
    entries = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "integers", entries, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def one_operator(operator: str, kind: str, rng: np.random.Generator) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """An operator on drawn integers, where ONNX says what comes out."""
    element, unsigned = KINDS[kind], kind[0] == "u"
    shape: list[int | str] = [DRAWS // 8, 8]
    x, y = (drawn(kind, rng).reshape(-1, 8) for _ in range(2))
    result, names = element, ["x", "y"]
    known: dict[str, np.ndarray] = {}
    attributes: dict[str, Any] = {}
    if operator in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        result = TensorProto.BOOL
    if operator in ("Div", "Mod"):
        y = np.where(
            (y == 0) | (y == np.invert(np.zeros_like(y))), y.dtype.type(3), y
        )  # the least integer by -1 ends the process
        exact = "64" not in kind  # ONNX Runtime's fmod computes 64 bits in float64
        attributes = {"fmod": int(exact and rng.integers(2))} if operator == "Mod" else {}
    if operator == "BitShift":
        y = (y % y.dtype.type(8)).astype(y.dtype)
        attributes = {"direction": "RIGHT" if rng.integers(2) else "LEFT"}
    if operator in UNARY:
        names = ["x"]
    if operator in ("ReduceSum", "ReduceProd"):  # beyond the type, ONNX Runtime gives the type's ends, and NumPy the lowest bits
        x = np.clip(x, 0 if unsigned else -3, 3)
    if operator in ("ReduceMax", "ReduceMin", "ReduceProd"):
        attributes = {"axes": [1]}
    if operator in ("ReduceSum", "CumSum"):
        known = {"axis": np.array([1]) if operator == "ReduceSum" else np.array(1)}
    if operator in ("ArgMax", "ArgMin"):
        attributes, result = {"axis": 1}, TensorProto.INT64
    if operator == "Clip":
        known = {"low": np.array(1 if unsigned else -3, x.dtype), "high": np.array(90, x.dtype)}
    if operator == "TopK":
        known = {"k": np.array([3])}
    if operator == "Cast":
        target = str(rng.choice(list(KINDS)))
        attributes, result = {"to": KINDS[target]}, KINDS[target]
    if operator == "Pad":
        known = {"pads": np.array([1, 0, 0, 2]), "filling": np.array(7, x.dtype)}
    if operator == "Where":
        made = node("Where", ["mask", "x", "other"], ["z"])
        known = {"mask": rng.random((DRAWS // 8, 8)) < 0.5, "other": y}
    else:
        outputs = ["z", "places"] if operator == "TopK" else ["z"]
        made = node(operator, [*names, *known], outputs, operator.lower(), **attributes)
    inputs = dict.fromkeys(names, (element, shape))
    wanted = {"z": result, **({"places": TensorProto.INT64} if operator == "TopK" else {})}
    data = {"x": x, "y": y} if len(names) == 2 else {"x": x}
    weights = {name: np.asarray(array) for name, array in known.items()}
    return model_with([made], inputs, wanted, weights, 18 if operator.startswith("Bitwise") else 17), data


def test_integers_are_what_onnx_runtime_computes(record_property: Callable[[str, object], None]) -> None:
    """Every operator at every width for which ONNX Runtime has a kernel."""
    rng, counts = np.random.default_rng(0), Counter[str]()
    for operator in (*BINARY, *UNARY):
        for kind in KINDS:
            model, data = one_operator(operator, kind, rng)
            try:
                onnx.checker.check_model(model, full_check=True)
                expected = run_onnxruntime(model, data)
            except (ModelError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
                counts["without a kernel"] += 1
                continue
            found = execute(import_onnx(model, batch=False), data)
            for name, array in expected.items():
                assert found[name].dtype == array.dtype, (operator, kind)
                np.testing.assert_array_equal(found[name], array, err_msg=f"{operator} {kind} {name}")
            counts[operator] += 1
    record_property("summary", f"integer operators against ONNX Runtime: {dict(counts)}")
    assert set(counts) >= {*BINARY, *UNARY}
    assert sum(counts[operator] for operator in (*BINARY, *UNARY)) >= 120


RNG = np.random.default_rng(7)
WEIGHTS = {
    "w": (RNG.normal(size=(4, 1, 3, 3)) * 0.3).astype(np.float32),
    "f": (RNG.normal(size=(144, 5)) * 0.1).astype(np.float32),
    "unit": np.float32(1 / 255),
    "flat": np.array([0, -1]),
    "ten": np.array(10, np.int32),
    "seven": np.array(7, np.uint8),
}
LAYERS = [
    node("Cast", ["pixels"], ["real"], "cast", to=TensorProto.FLOAT),
    node("Mul", ["real", "unit"], ["scaled"], "scale"),
    node("Conv", ["scaled", "w"], ["maps"], "conv"),
    node("Relu", ["maps"], ["active"], "relu"),
    node("Reshape", ["active", "flat"], ["row"], "flatten"),
    node("MatMul", ["row", "f"], ["scores"], "classify"),
]
LABELS = [
    node("ArgMax", ["scores"], ["best"], "argmax", axis=1, keepdims=0),
    node("Cast", ["best"], ["label"], "label_type", to=TensorProto.INT32),
    node("Add", ["label", "ten"], ["y"], "shift_labels"),
]


def image_model(before: list[onnx.NodeProto]) -> onnx.ModelProto:
    image: tuple[int, Sequence[int | str]] = (TensorProto.UINT8, ["N", 1, 8, 8])
    known = {name: np.asarray(array) for name, array in WEIGHTS.items()}
    return model_with([*before, *LAYERS, *LABELS], {"x": image}, {"y": TensorProto.INT32, "scores": TensorProto.FLOAT}, known)


IMAGES = {
    "cast at once": [node("Identity", ["x"], ["pixels"])],
    "computed with": [node("Add", ["x", "seven"], ["more"], "wrap"), node("Mod", ["more", "seven"], ["pixels"], "rest")],
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_integers_become_labels(name: str, tmp_path: Path) -> None:
    model = image_model(IMAGES[name])
    x = np.random.default_rng(1).integers(0, 256, (10, 1, 8, 8)).astype(np.uint8)
    program = snnir.compile(model, calibration=x)
    report = program.verify(x)
    assert report.ok and report.compared > 0, f"{report.mismatches} of {report.compared}"
    found = program.run(x).outputs
    np.testing.assert_array_equal(found["y"], found["scores"].argmax(axis=1).astype(np.int32) + 10)
    assert found["y"].dtype == np.int32
    nodes = program.facts["host_nodes"]
    assert isinstance(nodes, list)
    host = {item.split(" ")[1] for item in nodes}
    assert host == {"cast", "argmax", "label_type", "shift_labels", *({"wrap", "rest"} if name == "computed with" else ())}
    program.save(tmp_path / "labels.snnir")
    again = snnir.load(tmp_path / "labels.snnir")
    np.testing.assert_array_equal(again.run(x).outputs["y"], found["y"])
    fates = {item.name: (item.fate, item.reason) for item in snnir.check(model).nodes}
    assert fates["label_type"] == ("host", "after the network: only the host computes cast")
    assert fates["conv"][0] == "spiking"
    if name == "computed with":
        assert fates["wrap"] == ("host", "before the network: only the host computes int_add")


def test_arithmetic_on_tokens_and_a_mask() -> None:
    """Ids are shifted and cut to the table, a mask is compared for, both before the network; ids beyond 2^53 stay exact."""
    table = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    known = {
        "table": table,
        "offset": np.array(2**60),
        "least": np.array(0),
        "most": np.array(8),
        "w": np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32),
        "axis": np.array([1]),
        "last": np.array([-1]),
    }
    nodes = [
        node("Sub", ["x", "offset"], ["ids"], "sub"),
        node("Clip", ["ids", "least", "most"], ["rows"], "clip"),
        node("Gather", ["table", "rows"], ["vectors"], "embed"),
        node("Greater", ["ids", "least"], ["exists"], "compare"),
        node("Cast", ["exists"], ["mask"], "mask", to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"], "column"),
        node("Mul", ["vectors", "column"], ["kept"], "select"),
        node("MatMul", ["kept", "w"], ["hidden"], "hidden"),
        node("Relu", ["hidden"], ["active"], "relu"),
        node("ReduceSum", ["active", "axis"], ["y"], "total", keepdims=0),
    ]
    model = model_with(nodes, {"x": (TensorProto.INT64, ["N", 5])}, {"y": TensorProto.FLOAT}, known)
    x = 2**60 + np.random.default_rng(4).integers(-2, 12, (12, 5))
    program = snnir.compile(model, calibration=x)
    report = program.verify(x)
    assert report.ok and report.compared > 0
    fates = {item.name: item.fate for item in snnir.check(model).nodes}
    assert {fates[name] for name in ("sub", "clip", "embed", "compare", "mask")} == {"host"}
    assert {fates[name] for name in ("hidden", "relu")} == {"spiking"}


def test_integers_between_two_populations_are_refused_by_name() -> None:
    known = {"w": np.ones((3, 3), np.float32), "two": np.array(2)}
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"], "first"),
        node("Cast", ["b"], ["c"], "truncate", to=TensorProto.INT64),
        node("Mod", ["c", "two"], ["d"], "parity"),
        node("Cast", ["d"], ["e"], "back", to=TensorProto.FLOAT),
        node("MatMul", ["e", "w"], ["f"]),
        node("Relu", ["f"], ["g"], "second"),
        node("MatMul", ["g", "w"], ["y"]),
    ]
    model = model_with(nodes, {"x": (TensorProto.FLOAT, ["N", 3])}, {"y": TensorProto.FLOAT}, known)
    x = np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32)
    with pytest.raises(UnsupportedError, match="truncate.*inside the network, and only the host computes it") as caught:
        snnir.compile(model, calibration=x)
    assert "Mod parity" in str(caught.value)
    check = snnir.check(model)
    fates = {item.name: item.fate for item in check.nodes}
    assert {fates[name] for name in ("truncate", "parity", "back")} == {"refused"}
    allowed = snnir.compile(model, calibration=x, allow_host=True)
    assert allowed.verify(x).ok


def test_truncated_results_and_truth_of_them() -> None:
    """Real results that are cast to integers, shifted and compared: behind the readouts, exactly what the readouts give."""
    known: dict[str, np.ndarray] = {"one": np.array(1, np.uint8)}
    known["w"] = np.random.default_rng(6).normal(size=(6, 4)).astype(np.float32) * 3
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "v"], ["c"]),
        node("Cast", ["c"], ["z"], to=TensorProto.UINT8),
        node("BitShift", ["z", "one"], ["y"], direction="RIGHT"),
        node("Equal", ["y", "one"], ["same"]),
        node("Not", ["same"], ["other"]),
    ]
    known["v"] = np.random.default_rng(7).normal(size=(4, 5)).astype(np.float32)
    outputs = {"c": TensorProto.FLOAT, "y": TensorProto.UINT8, "other": TensorProto.BOOL}
    model = model_with(nodes, {"x": (TensorProto.FLOAT, ["N", 6])}, outputs, known)
    x = np.random.default_rng(8).normal(size=(16, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=x)
    assert program.verify(x).ok
    found = program.run(x).outputs
    whole = np.trunc(found["c"]).astype(np.int64).astype(np.uint8)
    np.testing.assert_array_equal(found["y"], whole >> 1)
    np.testing.assert_array_equal(found["other"], (whole >> 1) != 1)
    assert found["other"].dtype == np.bool_


def test_a_real_operator_on_integers_is_refused_by_name() -> None:
    model = model_with([node("Sqrt", ["x"], ["y"], "root")], {"x": (TensorProto.INT32, ["N", 3])}, {"y": TensorProto.INT32})
    with pytest.raises((UnsupportedError, ModelError), match="root \\(Sqrt\\): it computes with i32; of this operator only real"):
        snnir.import_model(model)


def test_indices_made_of_comparisons_of_real_numbers_are_the_hosts() -> None:
    """As tf2onnx writes an embedding whose negative indices count from the end: truth of real numbers becomes integers."""
    nodes = [
        node("Less", ["x", "zero"], ["negative"]),
        node("Cast", ["negative"], ["shifted"], to=TensorProto.INT32),
        node("Not", ["negative"], ["positive"]),
        node("Cast", ["positive"], ["kept"], to=TensorProto.INT32),
        node("Cast", ["x"], ["index"], to=TensorProto.INT32),
        node("Add", ["index", "five"], ["end"]),
        node("Mul", ["end", "shifted"], ["a"]),
        node("Mul", ["index", "kept"], ["b"]),
        node("Add", ["a", "b"], ["i"]),
        node("Gather", ["table", "i"], ["e"]),
        node("MatMul", ["e", "w"], ["m"]),
        node("Relu", ["m"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    arrays = {
        "zero": np.zeros((), np.float32),
        "five": np.array(5, np.int32),
        "table": rng.normal(size=(5, 3)).astype(np.float32),
        "w": rng.normal(size=(3, 4)).astype(np.float32),
    }
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6, 4])]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "indices", given, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = rng.integers(-5, 5, (20, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8)
    assert program.verify(x).ok
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), run_onnxruntime(model, {"x": x})["y"].ravel())[0, 1] > 0.999
