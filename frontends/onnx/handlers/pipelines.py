"""Operators of ai.onnx.ml, which scikit-learn's pipelines are exported with (skl2onnx).

Labels are the host's: the place of the largest score, then a row of the table of labels. The IR holds no strings: where
labels are words, their places are given out, and a note of the graph lists the words. A dictionary of probabilities by
label (ZipMap) is given out as the probabilities, in the order of the labels.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, plus, real, reshaped, sum_over, times
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Abs, ArgMax, Clip, Concat, Div, Gather, Linear, Lookup, Mul, Sigmoid, Softmax, Sqrt, Step, Sub

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
    rows = len(call.numbers("coefficients")) // int(str(call.type(0).shape[-1]))
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
        numbers = call.attribute(name, ())
        if isinstance(numbers, tuple) and numbers:
            return np.array(numbers, np.int64)
    words = call.attribute("classlabels_strings", ())
    assert isinstance(words, tuple)
    return np.array(words, object)


def _labelled(call: Call, labels: np.ndarray, place: Value, output: int) -> Value:
    """The label at each place: a row of the table; of words, the place itself and a note."""
    if labels.dtype.kind in "OSU":
        words = ", ".join(item.decode() if isinstance(item, bytes) else str(item) for item in labels.reshape(-1))
        call.scope.note(f"{call.name(output)} gives the places of labels, counted from 0: {words}")
        return place
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


@handler("LabelEncoder", "lookup")
def label_encoder(call: Call) -> list[Result]:
    """Whole numbers from 0 on, in order, to numbers: a table."""
    keys, values = call.attribute("keys_int64s", ()), call.attribute("values_int64s", ()) or call.attribute("values_floats", ())
    words = call.attribute("values_strings", ())
    if keys != tuple(range(len(keys))) or not keys:  # type: ignore[arg-type]
        raise RefusalError("its keys are not the whole numbers from 0 on; only those choose rows of a table")
    kept = np.array(words, object) if words else np.array(values)
    return [_labelled(call, kept if words or kept.dtype.kind == "i" else kept.astype(np.float32), call.value(0), 0)]
