"""Operators of ai.onnx.ml, which scikit-learn's pipelines are exported with (skl2onnx).

Labels are the host's, numbers and words: the place of the largest score, then a row of the table of labels. A dictionary of
probabilities by label (ZipMap) is given out as the probabilities, in the order of the labels.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, plus, real, reshaped, sum_over, times
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.dims import concrete, product
from snnir.ir.ops import (
    Abs,
    ArgMax,
    Clip,
    Concat,
    Div,
    Find,
    Gather,
    Linear,
    Lookup,
    Movement,
    Mul,
    Sigmoid,
    Softmax,
    Sqrt,
    Step,
    Sub,
)
from snnir.ir.types import DTYPES

__all__: list[str] = []


@handler("Scaler", "sub", "mul")
def scaler(call: Call) -> list[Result]:
    """`(x - offset) * scale`."""
    x = real(call, 0)
    offset, scale = (np.array(call.numbers(name) or (default,)) for name, default in (("offset", 0.0), ("scale", 1.0)))
    apart = call.emit(Sub(), x, constant(call, x, "offset", offset), label="centered")
    return [times(call, apart, scale)]


@handler("Binarizer", "step", "add")
def binarizer(call: Call) -> list[Result]:
    """1 above the threshold, else 0."""
    result = call.emit(Step(), plus(call, real(call, 0), -call.number("threshold", 0.0), "excess"))
    call.scope.flags.add(result)
    return [result]


@handler("Normalizer", "abs", "mul", "linear", "sqrt", "clip", "div")
def normalizer(call: Call) -> list[Result]:
    """Over the last axis, by the sum of magnitudes (L1) or the root of the sum of squares (L2): the host divides."""
    x, kind = real(call, 0), call.word("norm", "MAX")
    if kind not in ("L1", "L2"):
        raise RefusalError(
            f"norm {kind} is the largest element to ONNX Runtime, and the largest magnitude to ONNX's reference; "
            "supported are L1 and L2"
        )
    parts = call.emit(Mul(), x, x, label="squares") if kind == "L2" else call.emit(Abs(), x, label="magnitudes")
    norm = sum_over(call, parts, (x.type.rank - 1,), True, "total")
    norm = call.emit(Sqrt(), norm, label="norm") if kind == "L2" else norm
    # ONNX leaves x as it is where the norm is 0, which is to say 0
    return [call.emit(Div(), x, call.emit(Clip(low=1e-30), norm, label="divisor"))]


@handler("LinearRegressor", "linear", "sigmoid", "softmax")
def linear_regressor(call: Call) -> list[Result]:
    """One row of coefficients for each target."""
    scores = _linear(call, call.integer("targets", 1), "" if call.word("post_transform", "NONE") == "NONE" else "scores")
    return [_transformed(call, scores, "")]


@handler("LinearClassifier", "linear", "argmax", "lookup", "sigmoid", "softmax")
def linear_classifier(call: Call) -> list[Result]:
    """Scores of each class, and the label of the largest."""
    labels = _labels(call)
    rows = len(call.numbers("coefficients")) // concrete(call.type(0).shape[-1])
    if rows != len(labels) or rows < 2:
        raise RefusalError(f"it has {rows} rows of coefficients and {len(labels)} labels; supported is one for each label")
    scores = _linear(call, rows, call.name(1, "scores"))
    best = call.emit(ArgMax(1, False), scores, label="best")
    final = _transformed(call, scores, "", output=1)
    return [_labelled(call, labels, best, 0), final]


def _linear(call: Call, rows: int, label: str) -> Value:
    x = real(call, 0)
    weight = np.array(call.numbers("coefficients")).reshape(rows, -1)
    operands = [x, constant(call, x, "coefficients", weight)]
    bias = call.numbers("intercepts")
    if bias:
        operands.append(constant(call, x, "intercepts", np.array(bias)))
    return call.emit(Linear(), *operands, label=label)


def _transformed(call: Call, scores: Value, label: str, output: int = 0) -> Value:
    kind = call.word("post_transform", "NONE")
    if kind == "NONE":
        return scores
    if kind not in ("LOGISTIC", "SOFTMAX"):
        raise RefusalError(f"post_transform {kind} is not one of NONE, LOGISTIC, SOFTMAX")
    return call.emit(Sigmoid() if kind == "LOGISTIC" else Softmax(-1), scores, label=label, output=output)


def _labels(call: Call) -> np.ndarray:
    for name in ("classlabels_ints", "classlabels_int64s"):
        numbers = call.integers(name, ())
        if numbers:
            return np.array(numbers, np.int64)
    return np.array(call.words("classlabels_strings"), np.str_)


def _labelled(call: Call, labels: np.ndarray, place: Value, output: int) -> Value:
    """The label at each place: a row of the table."""
    table = labels.reshape(-1)
    label = "" if len(call.node.output) > 1 else "labels"
    kept = table.astype(np.int64) if table.dtype.kind in "iu" else table
    return call.emit(Lookup(), call.constant(f"{call.name(output)}.table", kept), place, label=label, output=output)


@handler("ArrayFeatureExtractor", "gather", "lookup", "reshape")
def array_feature_extractor(call: Call) -> list[Result]:
    """Known places of the last axis; or places that change with the input, of a known row of labels."""
    source, places = call.operands[0], call.operands[1]
    if isinstance(places, np.ndarray):
        x, chosen = call.value(0), tuple(int(place) for place in places.reshape(-1))
        if x.type.rank == 1:
            x = reshaped(call, x, (1, *x.type.shape), "row")
        return [call.emit(Gather(x.type.rank - 1, chosen, (len(chosen),)), x)]
    if not isinstance(source, np.ndarray) or source.size != source.shape[-1]:
        raise RefusalError("its data and its places both change with the input")
    index = call.value(1)
    found = _labelled(call, source, index, 0)
    shape = (1, product(index.type.shape))
    return [reshaped(call, found, shape)]


@handler("ZipMap")
def zip_map(call: Call) -> list[Result]:
    """A dictionary for each sample: the numbers in the order of its keys."""
    words = ", ".join(str(label) for label in _labels(call))
    call.scope.note(f"{call.name()} gives, instead of dictionaries, the numbers in the order of their keys: {words}")
    return [call.value(0)]


@handler("FeatureVectorizer", "concat")
def feature_vectorizer(call: Call) -> list[Result]:
    """Its inputs side by side."""
    return [call.emit(Concat(1), *(real(call, index) for index in range(len(call.operands))))]


def _pairs(call: Call, side: str) -> np.ndarray:
    """The keys or the values of a `LabelEncoder`, as numbers or words."""
    for kind, dtype in (("int64s", np.int64), ("floats", np.float32), ("strings", np.str_)):
        listed = call.attribute(f"{side}_{kind}", ())
        if listed:
            return np.array(listed, dtype)
    tensor = call.attribute(f"{side}_tensor")
    if not isinstance(tensor, np.ndarray):
        raise RefusalError(f"it has no {side} (an older form of the operator); export it with a newer version of ai.onnx.ml")
    return tensor.reshape(-1)


def _default(call: Call, values: np.ndarray) -> np.ndarray:
    """What stands for keys that are not there."""
    given = call.attribute("default_tensor")
    if isinstance(given, np.ndarray):
        return given.reshape(1)
    if values.dtype.kind == "U":
        return np.array([call.word("default_string", "_Unused")])
    return np.array([call.attribute("default_float", -0.0) if values.dtype.kind == "f" else call.integer("default_int64", -1)])


@handler("LabelEncoder", "find", "lookup")
def label_encoder(call: Call) -> list[Result]:
    """Numbers and words to numbers and words: the place among the keys, then a row of a table, whose last is the default."""
    keys, values = _pairs(call, "keys"), _pairs(call, "values")
    if len(keys) != len(values):
        raise RefusalError(f"it has {len(keys)} keys and {len(values)} values")
    x = call.value(0)
    place = x
    if not (_is_place(x) and np.array_equal(keys, np.arange(len(keys)))):
        if (keys.dtype.kind == "U") != (x.type.dtype == "str"):
            raise RefusalError(f"its keys are {keys.dtype} and it takes {x.type.dtype}")
        if keys.dtype.kind == "f" and not np.isfinite(keys).all():
            raise RefusalError("NaN or infinities are among its keys, and no input holds them")
        place = call.emit(Find(), x, call.array("keys", keys.astype(DTYPES[x.type.dtype])), label="place")
    table = np.concatenate([values, _default(call, values).astype(values.dtype if values.dtype.kind != "U" else np.str_)])
    return [call.emit(Lookup(), call.array("values", table), place)]


def _is_place(x: Value) -> bool:
    """Whether the value is the place of the largest element, perhaps moved."""
    while x.producer is not None and isinstance(x.producer.op, Movement):
        x = x.producer.operands[0]
    return x.producer is not None and isinstance(x.producer.op, ArgMax)
