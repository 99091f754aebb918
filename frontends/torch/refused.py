"""Operators of PyTorch that are refused, and why: the one table behind error messages and docs/operators.md.

Where all its operands are known while importing an operator is folded all the same; refused is what changes with the input.
"""

from __future__ import annotations

from collections.abc import Mapping

from snnir.ir.lowering.reasons import DETERMINANT, FINITE, RANDOM, SIZE, TRAINING, WEIGHTS

__all__ = ["REFUSED", "reason_of", "refused_operators"]

_GROUPS: tuple[tuple[str, str], ...] = (
    (
        RANDOM,
        "bernoulli cauchy exponential geometric log_normal multinomial normal normal_functional poisson rand rand_like randint "
        "randint_like randn randn_like randperm uniform",
    ),
    (
        TRAINING,
        "_ctc_loss binary_cross_entropy binary_cross_entropy_with_logits cross_entropy_loss ctc_loss nll_loss nll_loss2d "
        "nll_loss2d_forward nll_loss_forward nll_loss_nd",
    ),
    (WEIGHTS, "max_unpool2d max_unpool3d"),
    (SIZE, "_unique2 bincount histc masked_select nonzero nonzero_numpy unique_consecutive unique_dim"),
    ("it writes at places that depend on the input", "masked_scatter"),
    (FINITE, "nan_to_num nanmean nanmedian nansum"),
    (DETERMINANT, "_linalg_det linalg_det"),
    (
        "it solves equations or takes apart a matrix that changes with the input, which no sum of weighted spikes does",
        "_linalg_eigh _linalg_solve_ex _linalg_svd inverse linalg_cholesky linalg_cholesky_ex linalg_eigh linalg_inv "
        "linalg_inv_ex linalg_pinv linalg_qr linalg_solve linalg_svd",
    ),
    ("it needs the arc tangent of two values that change with the input", "angle atan2"),
    ("it goes over all elements, those of other samples too; give it an axis", "median.default"),
    (
        "it has no counterpart among the operators that are imported; write it out, or apply it before or after the model",
        "_cdist_forward bucketize cdist copysign cummax cummin digamma erfinv heaviside hypot igamma lgamma "
        "logaddexp logaddexp2 logcumsumexp mode mvlgamma nextafter polygamma searchsorted signbit",
    ),
)

REFUSED: Mapping[str, str] = {operator: reason for reason, operators in _GROUPS for operator in operators.split()}
"""Why each operator, or one overload of it, is refused."""


def reason_of(operator: str, complex: bool = False) -> str:
    """Why a node of an operator without a handler (of `complex` numbers), `aten.mode.default`, is refused."""
    name = operator.removeprefix("aten.")
    reason = REFUSED.get(name) or REFUSED.get(name.rsplit(".", 1)[0])
    if reason is None and complex:
        reason = "of complex numbers only parts, magnitudes, sums, products, Fourier transforms and movements are imported"
    return f"operator not supported: {reason}" if reason else "operator not supported"


def refused_operators() -> list[tuple[str, tuple[str, ...]]]:
    """Each reason, and the operators that are refused for it."""
    return [(reason, tuple(operators.split())) for reason, operators in _GROUPS]
