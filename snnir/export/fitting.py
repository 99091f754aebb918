"""Bundles that fit a target: what is beyond its limits, what would fit, and making it fit on request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import UnsupportedError, UsageError
from snnir.export.bundle import bundle

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle, Limits, Violation
    from snnir.passes.quantize_weights import QuantizeWeights
    from snnir.runtime.program import Program

__all__ = ["LimitError", "fitted_bundle"]

_FEWEST_BITS = 2
_FEWEST_SUM_BITS = 8


class LimitError(UnsupportedError):
    """A program is beyond the limits of a target; `violations` lists where."""

    def __init__(self, found: list[Violation]) -> None:
        lines = "\n".join(f"  {violation}" for violation in found)
        hint = "\n--fit does what can be done (with --calibration also fewer weight bits)" if found else ""
        super().__init__(f"{len(found)} limits are not kept:\n{lines}{hint}")
        self.violations = tuple(found)


def fitted_bundle(
    program: Program,
    x: np.ndarray | Mapping[str, np.ndarray] | None,
    limits: Limits,
    *,
    fit: bool = False,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    samples: int = 4,
    sizes: Mapping[str, int] | None = None,
    delivery: str = "relay",
    execution: str = "reset",
    unroll: bool = False,
) -> Bundle:
    """A bundle that keeps `limits`, with the cores that it lies on in its `mapping`.

    Without `fit`, any population beyond a limit is an error that says what would fit. With it, populations are split over
    cores and synapses over compartments; and with `calibration`, where weights or membranes are too wide, the program is
    compiled anew with fewer weight bits, and with coarser grids of sums, until they fit. Raises `LimitError`.
    """
    from snnir.backends.bundle import map_cores, violations

    while True:
        made = bundle(program, x, samples=samples, sizes=sizes, delivery=delivery, execution=execution, unroll=unroll)
        found = violations(made.program, made.bounds, limits)
        left = [violation for violation in found if not (fit and violation.fitted)]
        too_wide = [violation for violation in left if violation.limit in ("weight_bits", "membrane_bits")]
        if not (fit and too_wide and len(too_wide) == len(left) and calibration is not None):
            break
        weighed = _weights_of(program)
        narrower = weighed and _narrower(weighed, too_wide)
        if not narrower:
            break
        program = _with_weights(program, narrower, calibration)
    mapping = map_cores(made.program, limits)
    left += mapping.problems
    if left:
        raise LimitError(left)
    made.mapping = mapping.facts()
    return made


def _weights_of(program: Program) -> QuantizeWeights | None:
    """The pass that rounded the weights; None for a program without a pipeline."""
    from snnir.passes import parse_pipeline
    from snnir.passes.quantize_weights import QuantizeWeights

    passes = parse_pipeline(program.facts.pipeline or "")
    return next((pass_ for pass_ in passes if isinstance(pass_, QuantizeWeights)), None)


def _narrower(weighed: QuantizeWeights, too_wide: list[Violation]) -> QuantizeWeights | None:
    """Fewer bits by what is beyond the limits: of weights where they are, else of sums, and of weights once sums cannot."""
    allowed = [item.allowed for item in too_wide if item.limit == "weight_bits"]
    if allowed:
        bits = min(weighed.bits - 1, *allowed)
        if bits < _FEWEST_BITS:
            raise UsageError(f"weights of {bits} bits; {_FEWEST_BITS} are the fewest")
        return dataclasses.replace(weighed, bits=bits)
    widest = max(item.found for item in too_wide)
    sum_bits = min(weighed.sum_bits, widest) - max(item.found - item.allowed for item in too_wide)
    if sum_bits >= _FEWEST_SUM_BITS:
        return dataclasses.replace(weighed, sum_bits=sum_bits)
    return dataclasses.replace(weighed, bits=weighed.bits - 1) if weighed.bits > _FEWEST_BITS else None


def _with_weights(program: Program, weights: QuantizeWeights, calibration: np.ndarray | Mapping[str, np.ndarray]) -> Program:
    """The program compiled anew by its own pipeline, with weights rounded by `weights`."""
    from snnir.compiler.compile import compile as compile_model
    from snnir.passes import format_pipeline, parse_pipeline
    from snnir.passes.quantize_weights import QuantizeWeights

    passes = parse_pipeline(program.facts.pipeline or "")
    changed = [weights if isinstance(pass_, QuantizeWeights) else pass_ for pass_ in passes]
    made = compile_model(program.graph("float"), calibration=calibration, pipeline=format_pipeline(changed), check=False)
    made.facts = dataclasses.replace(made.facts, source=program.facts.source, provenance=program.facts.provenance)
    return made
