"""Operators that are refused, and why: the one table behind error messages, `snnir check` and docs/operators.md.

Each line is an operator of ONNX (or of ai.onnx.ml and the preview domains) without a handler. Where all its operands are known
while importing it is folded all the same; refused is what changes with the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import onnx

from snnir.frontends.onnx.inlined import FUNCTIONS
from snnir.ir.lowering.reasons import DETERMINANT, RANDOM, SIZE, TRAINING, WEIGHTS

__all__ = ["DRAWN", "REFUSED", "advice", "reason_of", "refused_operators", "undecided", "written_out"]

_STRINGS = "it computes with strings; prepare the data before the model"
_LISTS = "it computes with lists or optional values; supported are those known while importing, and lists that a loop builds"
_FILES = "it decodes files; decode them before the model"
_TREES = "it holds decision trees, which are no networks"
_KERNELS = "it compares the input with support vectors through a kernel, which is no network"
_WINDOW = "it is known only where its size is"

DRAWN = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
"""Operators whose results are random, also where their operands are known."""

_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (RANDOM, DRAWN),
    (TRAINING, ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "Adagrad", "Adam", "Gradient", "Momentum")),
    (
        _STRINGS,
        (
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "RegexFullMatch",
            "TfIdfVectorizer",
            "CategoryMapper",
            "DictVectorizer",
            "CastMap",
        ),
    ),
    (WEIGHTS, ("DeformConv", "MaxRoiPool", "MaxUnpool")),
    (SIZE, ("NonZero", "Unique")),
    (
        _LISTS,
        (
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "SequenceAt",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SequenceMap",
            "SplitToSequence",
            "ConcatFromSequence",
        ),
    ),
    (_FILES, ("ImageDecoder",)),
    (_TREES, ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")),
    (_KERNELS, ("SVMClassifier", "SVMRegressor")),
    (_WINDOW, ("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")),
    (DETERMINANT, ("Det",)),
    ("it writes at places that depend on the input", ("TensorScatter",)),
    ("it computes with functions given as graphs", ("FlexAttention",)),
)

REFUSED: Mapping[str, str] = {operator: reason for reason, operators in _GROUPS for operator in operators}
"""Why each operator is refused."""


def reason_of(operator: str, domain: str = "") -> str:
    """Why a node of an operator without a handler is refused."""
    if operator in FUNCTIONS:
        return "operator not supported: ONNX cannot write it out as other operators for operands of these types"
    if operator in REFUSED:
        return f"operator not supported: {REFUSED[operator]}"
    what = (
        "ONNX has it, but this version of snnir does not know it" if _declared(operator, domain) else "ONNX declares no such one"
    )
    return f"operator not supported: {what}; {advice(operator)}"


def advice(operator: str) -> str:
    """What to do about an operator that snnir has never heard of: the name may be misspelt, or near one that it knows."""
    from snnir.frontends.onnx.registry import HANDLERS

    near = difflib.get_close_matches(operator, [*HANDLERS, *REFUSED, *FUNCTIONS], 1, 0.75)
    hint = f"the nearest that snnir knows is {near[0]}; " if near else ""
    return (
        f"{hint}export the model with an older operator set, write the node as other operators (a function of the model is "
        "written out by itself), or leave it to the host before or after the model"
    )


DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")


def _declared(operator: str, domain: str) -> bool:
    return any(onnx.defs.has(operator, each) for each in {domain, *DOMAINS})


def undecided() -> list[str]:
    """Operators that this version of ONNX declares and that are neither imported nor in the table."""
    from snnir.frontends.onnx.fold import folded_operators
    from snnir.frontends.onnx.registry import HANDLERS
    from snnir.frontends.onnx.sequences import LISTS

    known = {*folded_operators(), *HANDLERS, *REFUSED, *LISTS, *FUNCTIONS}
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain in DOMAINS} - known)


def refused_operators() -> list[tuple[str, tuple[str, ...]]]:
    """Each reason, and the operators that are refused for it."""
    return [(reason, tuple(sorted(operators))) for reason, operators in _GROUPS]


def written_out() -> tuple[str, ...]:
    """Operators that are imported as what ONNX declares them to be."""
    return FUNCTIONS
