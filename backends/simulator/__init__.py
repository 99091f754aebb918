"""The event-driven simulator: a spiking graph as its neurons run it, spike by spike.

`Simulator` is fast (Numba, one thread a core, work per event); `simulate_plain` (`snnir.machine.plain`) is the plain interpreter,
which it is tested against. Numba is imported when a simulation first runs.
"""

from snnir.backends.simulator.simulator import DELIVERIES, ENCODINGS, EXECUTIONS, Simulator
from snnir.machine.plain import PlainResult, simulate_plain
from snnir.machine.results import RASTER_COLUMNS, SimulationResult

__all__ = [
    "DELIVERIES",
    "ENCODINGS",
    "EXECUTIONS",
    "RASTER_COLUMNS",
    "PlainResult",
    "SimulationResult",
    "Simulator",
    "simulate_plain",
]
