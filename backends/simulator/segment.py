"""A segment: the row of a table that says how the events of one synapse are delivered."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import COLLECTED, CSR, DENSE, SCATTERED

__all__ = ["COLLECTED", "CSR", "DENSE", "SCATTERED", "SEGMENT"]

SEGMENT = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            "begin",  # addresses
            "end",
            "weights",  # where they begin: of the population's, in a program of all
            "shift",  # what events add is shifted by so many bits
            "gains",  # and by index[gains - 1 + neuron] more, where this is not 0
            "inputs",  # dense: those of a row, and its length
            "outputs",
            "pointers",  # csr: in the index, where the entries of each address begin; and the neurons
            "targets",
            "fan",  # 1: every address has one entry
            "addresses",  # convolutions, in the index: see `convolutions.tables`
            "runs",
            "fans",
            "map_stride",  # from one map of a position to the next
            "negated",  # where the negated weights begin behind the others
            "maps",  # collected: maps of a position
            "spread",  # weights of a channel
            "positions",  # of the input
            "places",  # positions of the output
            "reads",  # in the index: pointers of the places to pairs of an input position and a tap's weights
            "links",  # number of these pairs
            "longest",  # most channels and taps that one place reads
            "width",  # room of an input position
            "levels",  # 1: the events of all steps are delivered at once, as the levels that they make
        )
    ]
)
"""What one segment consists of."""
