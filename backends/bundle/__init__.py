"""The fixed-point bundle: a spiking program as integers in one file, with proofs of its ranges and vectors to test with.

`docs/bundle.md` specifies the format, so that a reader can be written from that page alone.
"""

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.c_replay import emit_c, run_engine
from snnir.backends.bundle.cores import Mapping, map_cores
from snnir.backends.bundle.export import export
from snnir.backends.bundle.golden import Events, Golden, emitting
from snnir.backends.bundle.importer import to_graph
from snnir.backends.bundle.limits import Limits, Violation, target, target_names, violations
from snnir.backends.bundle.program import IntegerProgram
from snnir.backends.bundle.ranges import certify
from snnir.backends.bundle.replay import replay
from snnir.backends.bundle.schedule import schedule
from snnir.backends.bundle.unroll import unrolled

__all__ = [
    "Bundle",
    "Events",
    "Golden",
    "IntegerProgram",
    "Limits",
    "Mapping",
    "Violation",
    "certify",
    "emit_c",
    "emitting",
    "export",
    "map_cores",
    "replay",
    "run_engine",
    "schedule",
    "target",
    "target_names",
    "to_graph",
    "unrolled",
    "violations",
]
