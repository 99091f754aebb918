"""Emitters: the ops of a machine program that emit a train. One file holds all that the machine level knows of one:

its fields, what it emits (`emit`), what its train and registers can reach (`span`), and after how many steps it is silent
(`last_step`). `snnir/machine/lowering/` says which op of the spiking graph becomes which emitter.
"""

from snnir.machine.emitters.accumulator import Accumulator
from snnir.machine.emitters.base import Emitter
from snnir.machine.emitters.charged import Constant, Input
from snnir.machine.emitters.clock import Clock
from snnir.machine.emitters.combining import Combining
from snnir.machine.emitters.difference import Difference, RunningSum
from snnir.machine.emitters.few_spikes import FewSpikes
from snnir.machine.emitters.function import Function, Settled
from snnir.machine.emitters.integrate_fire import IntegrateFire
from snnir.machine.emitters.maximum import Max
from snnir.machine.emitters.population import Population
from snnir.machine.emitters.product import Product
from snnir.machine.emitters.readout import Readout
from snnir.machine.emitters.summing import Summing

__all__ = [
    "Accumulator",
    "Clock",
    "Combining",
    "Constant",
    "Difference",
    "Emitter",
    "FewSpikes",
    "Function",
    "Input",
    "IntegrateFire",
    "Max",
    "Population",
    "Product",
    "Readout",
    "RunningSum",
    "Settled",
    "Summing",
]
