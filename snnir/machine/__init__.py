"""The machine level: a spiking network for samples of one size as an integer program, and its plain interpreter.

`lower` makes a program of a spiking graph, `interpret` runs it, `certify` and `settling` bound what it can reach. Every
backend consumes it: docs/machine.md says what each op does, and how to add an emitter.
"""

from snnir.machine.interpreter import Execution, Interpreter, interpret
from snnir.machine.lowering import Lowered, lower
from snnir.machine.narrow import narrowed
from snnir.machine.program import IntegerProgram, emitting, walk
from snnir.machine.ranges import certify
from snnir.machine.settling import settling
from snnir.machine.spans import Bounds, bits_of

__all__ = [
    "Bounds",
    "Execution",
    "IntegerProgram",
    "Interpreter",
    "Lowered",
    "bits_of",
    "certify",
    "emitting",
    "interpret",
    "lower",
    "narrowed",
    "settling",
    "walk",
]
