"""The fixed-point bundle: a spiking program as integers in one file, with proofs of its ranges and vectors to test with.

`docs/bundle.md` specifies the format, so that a reader can be written from that page alone.
"""

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.c_replay import emit_c, run_engine
from snnir.backends.bundle.cores import Mapping, map_cores
from snnir.backends.bundle.golden import Events, Golden
from snnir.backends.bundle.importer import to_graph
from snnir.backends.bundle.limits import Limits, Violation, target, target_names, violations
from snnir.backends.bundle.unroll import unrolled

__all__ = [
    "Bundle",
    "Events",
    "Golden",
    "Limits",
    "Mapping",
    "Violation",
    "emit_c",
    "map_cores",
    "run_engine",
    "target",
    "target_names",
    "to_graph",
    "unrolled",
    "violations",
]
