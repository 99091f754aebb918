"""Canonicalize: many ways to write one function become one, adjacent affine ops one, and the batch stands in front."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from snnir.ir import FLOAT, Graph
from snnir.ir.worklist import rewrite
from snnir.passes.canonical import activations, arithmetic, batch, batch_norm, movement
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import BATCH_NORM_FOLDED, RELU_IS_CLIP

__all__ = ["RULES", "Canonicalize"]

RULES = (*arithmetic.RULES, *movement.RULES, *batch.RULES, *batch_norm.RULES, *activations.RULES)
"""All rules; of several that match a node, the first applies."""


@register
@dataclass(frozen=True)
class Canonicalize(Pass):
    """Bring equivalent forms to one form, until no rule replaces anything (`snnir/ir/worklist.py`).

    *Arithmetic* (`canonical/arithmetic.py`):

    1. `sub` and `div` by constants, and differences, become `add` and `mul`; constants stand on the right.
    2. `matmul` with a constant side becomes `linear` (transposed where the constant is on the left).
    3. Chains of `mul` and `add` by constants merge; `mul` and `add` per channel go into the `linear` or `conv` before.

    *Data movement* (`canonical/movement.py`):

    4. `pad` of spatial axes goes into the `conv` after it.
    5. Reshapes and transposes that follow one another merge, and vanish where they change nothing.
    6. A `linear` goes before a reshape that merges the batch with axes before its own, so that the batch stays an axis.

    *The batch is axis 0* of what synapses and neurons compute (`canonical/batch.py`):

    7. Element-wise ops, `linear`, `concat`, `slice`, `gather`, `pad`, `extend`, `expand` and `reshape` whose result has its
       batch on another axis are computed on transposed operands, and their result is transposed back. So is a `gather` that
       takes the axes before the batch away.
    8. So is a `conv` that looks at one position only, as `linear`: then the batch may stand at its positions.
    9. So is a pool whose windows do not reach over the batch, with axis 0 and the batch in each other's place.
    10. An operand of a broadcast that is one for all samples, and changes from call to call, is repeated for each of them.

    *Batch norm, and any affine map per channel* (`canonical/batch_norm.py`):

    11. After a `conv` or `linear` that no other node takes, batch norm goes into its weights and bias; elsewhere it becomes
        `mul` and `add` by constants.
    12. `mul` and `add` by constants sink through data movement (and `max_pool`, where the factor is positive), and into
        the bodies of scans, ...
    13. ... into the `linear` or `conv` they reach. Under zero padding the bias then differs at the border, so it becomes a
        map of the conv's output size; where that size is unknown, the affine map stays and gets neurons of its own.

    *Activations and the quantizers of the model itself* (`canonical/activations.py`):

    14. `relu` is `clip` to 0..inf, and clips that follow one another merge.
    15. An activation goes before the data movement or `max_pool` it follows: both commute with increasing functions.
    16. A quantizer goes before the `concat` it follows, vanishes where its operand has its levels already, and takes the
        clip of its levels that follows it as bounds.
    """

    name = "canonicalize"
    takes = gives = FLOAT
    ensures = (RELU_IS_CLIP, BATCH_NORM_FOLDED)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rewrite(graph, RULES, hits)
        return Result(new, changed, rewrites=hits)
