"""The functions that are compiled on their own: C functions of addresses and numbers, each compiled when it is first needed.

Every instruction and every segment names the one that executes it, so that a network compiles the kinds of instructions, neurons
and weights that it holds. All return 1 where something was raised, else 0; deliveries and those of threads return nothing.
Compiled code cannot tell one exception from another, so what raises leaves the reason where `run.py` looks for it (`NO_ROOM`).
"""

from __future__ import annotations

from collections.abc import Callable

from snnir.backends.simulator.kernels.clocks import clock, integrate_fire
from snnir.backends.simulator.kernels.combinations import combine
from snnir.backends.simulator.kernels.constants import FAILED
from snnir.backends.simulator.kernels.encoders import encode
from snnir.backends.simulator.kernels.few_spikes import few_spikes
from snnir.backends.simulator.kernels.functions import compute, tell_changes
from snnir.backends.simulator.kernels.interpreter import run_samples, scan
from snnir.backends.simulator.kernels.levels import deliver_convolution_of_levels, deliver_dense_levels
from snnir.backends.simulator.kernels.memory import as_run, as_worker, free
from snnir.backends.simulator.kernels.numba_compat import Compiled, Native, part
from snnir.backends.simulator.kernels.populations import populate
from snnir.backends.simulator.kernels.running_sums import run_sums
from snnir.backends.simulator.kernels.synapses import deliver_convolution, deliver_dense, deliver_sparse
from snnir.backends.simulator.kernels.threads import pool_words, run_job, serve_jobs, wake_helpers
from snnir.backends.simulator.kernels.trains import gather

__all__ = ["NATIVE"]

NATIVE: dict[str, Native] = {}
"""By name."""


def _native(function: Callable[..., object]) -> Native:
    NATIVE[function.__name__] = Native(function, returns=False)
    return NATIVE[function.__name__]


def _instruction(name: str, execute: Compiled, arrays: Compiled) -> None:
    """Enter the function `name(run, worker, row)` that executes a row of a table, with the arrays of neurons of one width."""

    @part
    def executed(run, worker, row):  # on its own, since Numba unpacks no tuple within `try`
        execute(run, worker, row, *arrays(worker))

    def routine(run, worker, row):
        try:
            executed(as_run(run), as_worker(worker), row)
        except Exception:
            return 1
        return 0

    NATIVE[name] = Native(routine, returns=True, name=name)


def _delivery(name: str, deliver: Compiled, arrays: Compiled) -> None:
    """Enter the function `name` that delivers the events begin..end-1 through a segment, with arrays of weights of a width."""

    def routine(run, worker, population, segment, begin, end):
        given, own = as_run(run), as_worker(worker)
        deliver(given, own, population, segment, begin, end, *arrays(given.program, own))

    NATIVE[name] = Native(routine, returns=False, name=name)


@part
def _none(worker):
    return ()


@part
def _running_32(worker):
    return worker.start32, worker.kept32, worker.sums32, worker.up32


@part
def _running_64(worker):
    return worker.start64, worker.kept64, worker.sums64, worker.up64


@part
def _neurons_32(worker):
    return worker.start32, worker.theta32, worker.kept32, worker.sums32, worker.up32, worker.down32


@part
def _neurons_64(worker):
    return worker.start64, worker.theta64, worker.kept64, worker.sums64, worker.up64, worker.down64


@part
def _few_32(worker):
    return worker.start32, worker.theta32, worker.sums32


@part
def _few_64(worker):
    return worker.start64, worker.theta64, worker.sums64


@part
def _clocked_32(worker):
    return worker.start32, worker.theta32, worker.sums32, worker.up32, worker.down32


@part
def _clocked_64(worker):
    return worker.start64, worker.theta64, worker.sums64, worker.up64, worker.down64


@part
def _weights_8(program, worker):
    return worker.sums32, program.weights8, worker.factors32


@part
def _weights_16(program, worker):
    return worker.sums32, program.weights16, worker.factors32


@part
def _weights_64(program, worker):
    return worker.sums64, program.weights64, worker.factors64


for _name, _execute, _arrays in (
    ("scan_windows", scan, _none),
    ("encode_levels", encode, _none),
    ("gather_trains", gather, _none),
    ("compute_function", compute, _none),
    ("tell_changes_of_function", tell_changes, _none),
    ("combine_tracers", combine, _none),
    ("run_sums_32", run_sums, _running_32),
    ("run_sums_64", run_sums, _running_64),
    ("populate_32", populate, _neurons_32),
    ("populate_64", populate, _neurons_64),
    ("few_spikes_32", few_spikes, _few_32),
    ("few_spikes_64", few_spikes, _few_64),
    ("integrate_fire_32", integrate_fire, _clocked_32),
    ("integrate_fire_64", integrate_fire, _clocked_64),
    ("clock_train", clock, _none),
):
    _instruction(_name, _execute, _arrays)

for _kind, _deliver in (("dense", deliver_dense), ("convolution", deliver_convolution), ("sparse", deliver_sparse)):
    for _bits, _arrays in ((8, _weights_8), (16, _weights_16), (64, _weights_64)):
        _delivery(f"{_kind}_{_bits}", _deliver, _arrays)
_delivery("dense_levels_8", deliver_dense_levels, _weights_8)
_delivery("convolution_levels_8", deliver_convolution_of_levels, _weights_8)


@_native
def work(run):
    """Simulate samples of a run, each by itself, until none is left."""
    given = as_run(run)
    try:
        run_samples(given)
    except Exception:
        given.counters[FAILED] = 1


@_native
def release(address):
    """Free memory that a growing array had."""
    free(address)


@_native
def wake(words, helpers):
    """Wake the helpers of a pool: a job comes soon."""
    wake_helpers(pool_words(words), helpers)


@_native
def serve(words, place):
    """What a helper of a pool does, for ever: each job, when it comes."""
    serve_jobs(pool_words(words), place)


@_native
def run_shared(words, helpers, function, given):
    """Have a job done by the caller and the helpers of a pool."""
    run_job(pool_words(words), helpers, function, given)
