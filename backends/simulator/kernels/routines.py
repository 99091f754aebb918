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
from snnir.backends.simulator.kernels.memory import as_run, as_worker, free
from snnir.backends.simulator.kernels.numba_compat import Native
from snnir.backends.simulator.kernels.populations import populate
from snnir.backends.simulator.kernels.running_sums import run_sums
from snnir.backends.simulator.kernels.synapses import deliver_convolution, deliver_dense, deliver_sparse
from snnir.backends.simulator.kernels.threads import help_with_jobs, pool_words, run_together, wake_helpers
from snnir.backends.simulator.kernels.trains import gather

__all__ = ["NATIVE"]

NATIVE: dict[str, Native] = {}
"""By name."""


def _native(*, returns: bool) -> Callable[[Callable[..., None]], Native]:
    def enter(function: Callable[..., object]) -> Native:
        NATIVE[function.__name__] = Native(function, returns=returns)
        return NATIVE[function.__name__]

    return enter


@_native(returns=False)
def work(run):
    given = as_run(run)
    try:
        run_samples(given)
    except Exception:
        given.counters[FAILED] = 1


@_native(returns=True)
def scan_windows(run, worker, row):
    try:
        scan(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def encode_levels(run, worker, row):
    try:
        encode(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def gather_trains(run, worker, row):
    try:
        gather(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def compute_function(run, worker, row):
    try:
        compute(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def tell_changes_of_function(run, worker, row):
    try:
        tell_changes(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def run_sums_32(run, worker, row):
    own = as_worker(worker)
    try:
        run_sums(as_run(run), own, row, own.start32, own.kept32, own.sums32, own.up32)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def run_sums_64(run, worker, row):
    own = as_worker(worker)
    try:
        run_sums(as_run(run), own, row, own.start64, own.kept64, own.sums64, own.up64)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def combine_tracers(run, worker, row):
    try:
        combine(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def populate_32(run, worker, row):
    own = as_worker(worker)
    try:
        populate(as_run(run), own, row, own.start32, own.theta32, own.kept32, own.sums32, own.up32, own.down32)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def populate_64(run, worker, row):
    own = as_worker(worker)
    try:
        populate(as_run(run), own, row, own.start64, own.theta64, own.kept64, own.sums64, own.up64, own.down64)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def few_spikes_32(run, worker, row):
    own = as_worker(worker)
    try:
        few_spikes(as_run(run), own, row, own.start32, own.theta32, own.sums32)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def few_spikes_64(run, worker, row):
    own = as_worker(worker)
    try:
        few_spikes(as_run(run), own, row, own.start64, own.theta64, own.sums64)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def integrate_fire_32(run, worker, row):
    own = as_worker(worker)
    try:
        integrate_fire(as_run(run), own, row, own.start32, own.theta32, own.sums32, own.up32, own.down32)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def integrate_fire_64(run, worker, row):
    own = as_worker(worker)
    try:
        integrate_fire(as_run(run), own, row, own.start64, own.theta64, own.sums64, own.up64, own.down64)
    except Exception:
        return 1
    return 0


@_native(returns=True)
def clock_train(run, worker, row):
    try:
        clock(as_run(run), as_worker(worker), row)
    except Exception:
        return 1
    return 0


@_native(returns=False)
def dense_8(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_dense(given, own, population, segment, begin, end, own.sums32, given.program.weights8, own.factors32)


@_native(returns=False)
def dense_16(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_dense(given, own, population, segment, begin, end, own.sums32, given.program.weights16, own.factors32)


@_native(returns=False)
def dense_64(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_dense(given, own, population, segment, begin, end, own.sums64, given.program.weights64, own.factors64)


@_native(returns=False)
def convolution_8(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_convolution(given, own, population, segment, begin, end, own.sums32, given.program.weights8, own.factors32)


@_native(returns=False)
def convolution_16(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_convolution(given, own, population, segment, begin, end, own.sums32, given.program.weights16, own.factors32)


@_native(returns=False)
def convolution_64(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_convolution(given, own, population, segment, begin, end, own.sums64, given.program.weights64, own.factors64)


@_native(returns=False)
def sparse_8(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_sparse(given, own, population, segment, begin, end, own.sums32, given.program.weights8)


@_native(returns=False)
def sparse_16(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_sparse(given, own, population, segment, begin, end, own.sums32, given.program.weights16)


@_native(returns=False)
def sparse_64(run, worker, population, segment, begin, end):
    given, own = as_run(run), as_worker(worker)
    deliver_sparse(given, own, population, segment, begin, end, own.sums64, given.program.weights64)


@_native(returns=False)
def release(address):
    free(address)


@_native(returns=False)
def wake(words, helpers):
    wake_helpers(pool_words(words), helpers)


@_native(returns=False)
def help(words, place):
    help_with_jobs(pool_words(words), place)


@_native(returns=False)
def together(words, helpers, function, given):
    run_together(pool_words(words), helpers, function, given)
