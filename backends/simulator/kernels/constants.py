"""The numbers that tables, kernels and results agree on. This module does not import Numba."""

from __future__ import annotations

__all__ = [
    "ADD",
    "ALL",
    "AND",
    "BIT_LENGTH",
    "CHARGES",
    "CLOCK",
    "CLOCK_BERNOULLI",
    "CLOCK_CONSTANT",
    "CLOCK_RATE",
    "CLOCK_WINDOW",
    "COLLECTED",
    "COLUMN",
    "COMBINE",
    "COMPUTE",
    "CONTEXT",
    "COUNTS",
    "CSR",
    "DELIVERING",
    "DENSE",
    "ENCODE",
    "EVENTS",
    "FAILED",
    "FIRING",
    "FLOOR_DIV",
    "FUNCTION",
    "GATHER",
    "GRADED",
    "HELPERS",
    "HISTORY",
    "INSIDE",
    "JOB",
    "JOIN",
    "KEEPS",
    "KEEPS_HISTORY",
    "LAST",
    "LEAST",
    "LINE",
    "LINKS_PER_EVENT",
    "MOST",
    "MUL",
    "NEXT",
    "NO_ROOM",
    "OFFSETS",
    "OPEN",
    "OWN_LOCK",
    "POPULATE",
    "RECORDED",
    "RECORDS",
    "REDUCE_MAX",
    "REDUCE_SUM",
    "RELAY",
    "REPLAY",
    "RESUMES",
    "ROWS",
    "SAMPLE",
    "SCAN",
    "SCATTERED",
    "SETTLES",
    "SETTLING",
    "SHIFT_LEFT",
    "SHIFT_RIGHT",
    "SPARE",
    "SPIKES",
    "SQRT",
    "STATE",
    "STEPS",
    "STOPPED",
    "SUB",
    "SUMS",
    "SYNOPS",
    "TABLE",
    "TICK",
    "UNDELIVERED",
    "UNSETTLED",
    "WAITING",
    "WINDOW",
    "WORKERS",
    "WRONG",
]

DENSE, SCATTERED, COLLECTED, CSR = range(4)
"""Kinds of segments; the kernel computes steps with many events of collected ones from the side of the outputs."""

ENCODE, GATHER, POPULATE, COMBINE, SCAN, COMPUTE, CLOCK = range(7)
"""Kinds of instructions."""

CLOCK_CONSTANT, CLOCK_RATE, CLOCK_BERNOULLI, CLOCK_WINDOW = range(4)
"""Kinds of clocks."""

ADD, SUB, MUL, FLOOR_DIV, LEAST, MOST, SHIFT_LEFT, SHIFT_RIGHT, AND, JOIN, TABLE, SQRT, BIT_LENGTH, REDUCE_SUM, REDUCE_MAX = (
    range(15)
)
"""Kinds of microcode steps: up to `AND` those with two operands."""

RELAY, REPLAY, GRADED = range(3)
"""How a state reaches the next window."""

STEPS, SPIKES, SYNOPS, CHARGES, SUMS, SETTLES, COUNTS = range(7)
"""Parts of the results of a sample: `Tables.results` says where they begin."""

RECORDED, KEEPS_HISTORY = 1, 2
"""Flags of an emitter: whether the run records its events, and its sums after each step."""

OFFSETS, EVENTS, RECORDS, HISTORY, UNSETTLED, UNDELIVERED, WRONG, TICK, DELIVERING, FIRING, SETTLING, ALL = range(12)
"""What a worker's `cursors` count: entries of growing arrays, neurons and spikes that a cap cut off, NaN and infinities among
the numbers to round, the steps of combinations, and processor cycles.

A run that asks for phases counts cycles: delivering currents, comparing neurons and writing their spikes while input comes, the
same after the last input, and all of a call.
"""

NEXT, LAST, WORKERS, FAILED, STOPPED = range(5)
"""Places in the counters that the workers of a run share: the next sample, where to end, how many workers have entered, whether
one of them failed, and whether the caller wants them to stop."""

NO_ROOM = -1
"""The room of growing memory that could not grow: there was too little memory."""

STATE, FUNCTION, CONTEXT, OWN_LOCK, HELPERS = 0, 8, 9, 10, 16
"""Places of words in a thread pool's memory: `STATE` is alone in its cache line; from `HELPERS` on two words a helper: whether it
sleeps, and its lock."""

INSIDE, OPEN, WAITING, JOB = (1 << 20) - 1, 1 << 20, 1 << 21, 22
"""Parts of `STATE`: helpers inside, two bits, and where the number of the job begins."""

SAMPLE, WINDOW, COLUMN, KEEPS, RESUMES = range(5)
"""Places in a worker's `window`: the sample in the results, the window's number in its scan, its column of `STEPS`, whether
the neurons go on in the next window, and whether they go on from the window before."""

ROWS = 255
"""The most rows of int8 that are added together: their sums fit 16 bits."""

LINE = 64
"""Bytes of a cache line: so many weights of a population, or a multiple of them, stand side by side."""

SPARE = 16
"""Entries behind the last sum, and behind the last weight: a vector may reach beyond what is asked for."""

LINKS_PER_EVENT = 16
"""So many links (output positions times taps) are looked through in the time of delivering one event alone."""
