"""What the compiled part reads and writes, as structures in memory.

An event is an address and a number `2 * value + charged`: the lowest bit marks events that cost a multiplication
(graded values and everything an encoder charges), which synaptic operations are counted by. A train, what one value
emits in one window of one sample, is a slice of `offsets`: its events of step t are those from offsets[first + t] to
offsets[first + t + 1]. Trains stand one behind the other in a store that grows: nine words, where its offsets (int64),
addresses and numbers (int32) are, how many fit, and how many may, each. `cursors` says where the next train begins, and
`first[slot]`, `steps[slot]` where the last train of a value begins and how many steps it has.
"""

from __future__ import annotations

import numba
import numpy as np

from snnir.backends.simulator import tables
from snnir.backends.simulator.kernels.numba_compat import Struct
from snnir.backends.simulator.segment import SEGMENT

__all__ = ["PROGRAM", "RUN", "WORKER"]


def _array(dtype: np.dtype | type[np.generic], ndim: int = 1) -> numba.types.Array:
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C")


_INT8, _INT16, _INT32, _INT64 = (_array(dtype) for dtype in (np.int8, np.int16, np.int32, np.int64))
_WORD = numba.types.int64

PROGRAM = Struct(
    "program",
    top=_WORD,
    slots=_WORD,
    few=_WORD,
    instructions=_array(tables.INSTRUCTION),
    gathers=_array(tables.GATHERED),
    parts=_array(tables.PART),
    maps=_INT64,
    emitters=_array(tables.EMITTER),
    encoders=_array(tables.ENCODER),
    roundings=_array(tables.ROUNDING),
    factors=_array(np.float32),
    populations=_array(tables.POPULATION),
    segments=_array(SEGMENT),
    inputs=_INT64,
    weights8=_INT8,
    weights16=_INT16,
    weights64=_INT64,
    indices=_INT32,
    parameter=_INT32,
    layout=_INT32,
    thresholds=_INT64,
    potentials=_INT64,
    clocks=_array(tables.CLOCKED),
    combinations=_array(tables.COMBINATION),
    members=_INT32,
    windows=_array(tables.WINDOWS),
    elements=_array(tables.ELEMENT),
    states=_array(tables.STATE),
    shared=_array(tables.SHARED),
    stacked=_array(tables.STACKED),
    settled=_array(tables.SETTLED),
    functions=_array(tables.FUNCTION),
    function_sources=_array(tables.FUNCTION_SOURCE),
    microcode=_array(tables.MICROCODE),
    register_maps=_INT64,
    registers=_INT64,
    results=_INT64,
)
"""The tables of a program, by the names of `tables.Tables`."""

RUN = Struct(
    "run",
    program=PROGRAM,
    routines=_INT64,
    deliveries=_INT64,
    emitter=_INT64,
    made=_INT64,
    read=_INT64,
    real_inputs=_INT64,
    input_levels=_array(np.int32, 2),
    flags=_INT64,
    results=_array(np.int64, 2),
    counters=_INT64,
    workers=_INT64,
    cap=_WORD,
    delivery=_WORD,
    carry=_WORD,
    spread=_WORD,
    timed=_WORD,
    room=_WORD,
)
"""What a run does: a program, its inputs, and where it writes.

`routines`, `deliveries`: the address of the compiled function of each instruction, and of each segment.
`emitter[instruction]`: whose train it makes, or -1. `made[slot]` and `read[slot]`: the instructions outside scans that make its
train and read it last (-1 and -1: inside of one). `input_levels` int32[batch, ...] are what encoders charge (int32[1, ...]
where all samples have the same), except those that the kernel rounds itself, by `program.roundings`, from `real_inputs`:
addresses of float32[batch, size]. `flags[emitter]` says what the run records of an emitter. A window ends when it is silent, or
after `cap` steps; `delivery` is that of recurrent states. `results` int64[batch, ...] start as 0, and hold all
`program.results`, or all but the last of these parts. A worker whose store holds more than `room` events forgets trains that
nothing reads any more. The workers share `counters` (`NEXT` to `STOPPED`); `workers` are the addresses of their structures.
"""

WORKER = Struct(
    "worker",
    first=_INT64,  # of each slot: where its train begins
    steps=_INT64,  # of each slot
    lead=_INT64,  # of each slot, few-spike neurons: how many steps its train is silent at first
    trains=_INT64,  # stores
    state_trains=_INT64,
    stacked_trains=_INT64,
    records=_INT64,  # address and room of recorded events (int64: emitter, sample, window, step, address, value)
    history=_INT64,  # of sums after each step (int64: population, sample, window, then all sums)
    cursors=_INT64,
    window=_INT64,  # `SAMPLE` to `RESUMES`
    levels=_INT32,  # what encoders charge into this sample
    start32=_INT32,  # of each neuron: the membrane or sum at the start
    start64=_INT64,
    theta32=_INT32,
    theta64=_INT64,
    kept32=_INT32,  # membranes, kept from window to window
    kept64=_INT64,
    kept_levels=_INT32,  # tracers
    sums32=_INT32,  # from here on of the population that runs
    sums64=_INT64,
    up32=_INT32,
    up64=_INT64,
    down32=_INT32,
    down64=_INT64,
    tracers=_INT32,
    fired=_INT32,
    signs=_INT32,
    rests=_INT32,  # integrate-and-fire neurons: remainders that have added up
    rows=_INT32,  # rows of weights that wait for being added
    scaled_rows=_INT32,  # and for being multiplied, by `factors`
    factors32=_INT32,
    factors64=_INT64,
    packed=_INT8,  # levels of listed rows as bytes
    merged=_INT32,  # levels that the events of several steps make; 0 but while they are delivered
    filled=_INT32,  # convolutions: how many rows each input position has in `channels`
    channels=_INT32,
    held=_INT8,  # and their levels as bytes, where levels are delivered
    inputs=_INT64,  # from here on of the combination that runs
    values=_INT64,
    stamps=_INT64,
    touched=_INT32,
    registers=_INT64,  # of functions: constants, complete levels and sums, and what steps of microcode give
    kept_encoded=_INT32,  # kept from window to window: levels of encoders
    kept_tracers=_INT64,  # of combinations
    kept_states=_INT64,
    kept_crossing=_INT64,  # what elements and stacked values came to
    differences=_INT64,
    charged=_INT64,
    changes=_INT32,
    state_first=_INT64,  # trains of states, in their store
    state_steps=_INT64,
    stacked_first=_INT64,  # trains of stacked values, one a window
    stacked_steps=_INT64,
    stacked_ends=_INT64,
    element_first=_INT64,  # where the trains of a sequence's elements begin, and their steps
    element_steps=_INT64,
)
"""What one worker of a run writes: its memory is that of no other."""
