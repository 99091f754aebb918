"""Instructions in order: those of a program for each sample, and those of a scan's body for each window."""

from __future__ import annotations

from snnir.backends.simulator.kernels.constants import (
    ALL,
    COLUMN,
    COUNTS,
    EVENTS,
    KEEPS,
    LAST,
    NEXT,
    OFFSETS,
    RECORDED,
    RECORDS,
    RESUMES,
    SAMPLE,
    SETTLES,
    SPIKES,
    STEPS,
    WINDOW,
    WORKERS,
    WRONG,
)
from snnir.backends.simulator.kernels.encoders import round_half_up
from snnir.backends.simulator.kernels.memory import (
    as_worker,
    copy,
    cycles,
    enlarge,
    events_of,
    execute_by,
    fetch_add,
    longs,
    stop_where_asked,
)
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.scans import begin_scan, begin_window, end_scan, end_window
from snnir.backends.simulator.kernels.trains import accumulate, compact

__all__ = ["run_samples", "scan"]


@part
def _record(worker, emitter, first, steps):
    """Append the events of a train to what the run records."""
    offsets, address, event = events_of(worker.trains)
    entry, count = worker.cursors[RECORDS], offsets[first + steps] - offsets[first]
    enlarge(worker.records, entry + 6 * count, 8)
    records, sample, window = longs(worker.records), worker.window[SAMPLE], worker.window[WINDOW]
    for t in range(steps):
        for e in range(offsets[first + t], offsets[first + t + 1]):
            records[entry], records[entry + 1], records[entry + 2] = emitter, sample, window
            records[entry + 3], records[entry + 4], records[entry + 5] = t, address[e], event[e] >> 1
            entry += 6
    worker.cursors[RECORDS] = entry


@part
def _enter_results(run, worker, emitter):
    """Enter the train that an emitter made in this window."""
    window, places, row = worker.window, run.program.results, run.program.emitters[emitter]
    result = run.results[window[SAMPLE]]
    offsets, address, event = events_of(worker.trains)
    at, length = worker.first[row.slot], worker.steps[row.slot]
    column = places[STEPS] + window[COLUMN] + row.segment
    result[column] = max(result[column], length)
    first, last = offsets[at], offsets[at + length]
    if row.spikes:
        result[places[SPIKES] + emitter] += last - first
    if row.counts >= 0 and result.size > places[COUNTS]:
        begin = places[COUNTS] + row.counts + window[WINDOW] * row.size
        counts = result[begin:]
        if window[RESUMES]:
            for i in range(row.size):
                counts[i] = result[begin - row.size + i]
        for e in range(first, last):
            counts[address[e]] += event[e] >> 1
    if run.flags[emitter] & RECORDED:
        _record(worker, emitter, at, length)


@part
def _execute(run, worker, first, last):
    """Execute instructions first..last-1 in the worker's window."""
    for i in range(first, last):
        stop_where_asked(run)
        if execute_by(run.routines[i], run, worker, run.program.instructions[i].row):
            raise RuntimeError
        emitter = run.emitter[i]
        if emitter >= 0:
            _enter_results(run, worker, emitter)


@part
def scan(run, worker, number):
    """Run a scan of one sample: its body for each window."""
    row, cursors, window = run.program.windows[number], worker.cursors, worker.window
    mark_offsets, mark_events = cursors[OFFSETS], cursors[EVENTS]
    begin_scan(run, worker, row)
    inside_offsets, inside_events = cursors[OFFSETS], cursors[EVENTS]
    for k in range(row.length):
        place = row.length - 1 - k if row.reverse else k
        cursors[OFFSETS], cursors[EVENTS] = inside_offsets, inside_events
        begin_window(run, worker, row, k, place)
        window[WINDOW], window[COLUMN] = k, row.column + k * row.segments
        window[KEEPS], window[RESUMES] = run.carry, run.carry != 0 and k > 0
        _execute(run, worker, row.body, row.body_end)
        end_window(run, worker, row, k, place)
    window[WINDOW], window[COLUMN], window[KEEPS], window[RESUMES] = 0, 0, 0, 0
    cursors[OFFSETS], cursors[EVENTS] = mark_offsets, mark_events
    end_scan(run, worker, row)


@part
def _run_sample(run, worker, sample):
    """Run one sample through the whole network."""
    program, cursors, window = run.program, worker.cursors, worker.window
    given = run.input_levels[sample if len(run.input_levels) > 1 else 0]
    copy(worker.levels[: given.size], given)
    for i in range(program.roundings.size):
        cursors[WRONG] += round_half_up(program.roundings[i], program.factors, run.real_inputs[i], worker.levels, sample)
    cursors[OFFSETS], cursors[EVENTS] = 0, 0
    window[SAMPLE], window[WINDOW], window[COLUMN], window[KEEPS], window[RESUMES] = sample, 0, 0, 0, 0
    room = run.room
    for i in range(program.top):
        _execute(run, worker, i, i + 1)
        if cursors[EVENTS] > room:
            compact(run, worker, i)
            room = max(run.room, 2 * cursors[EVENTS])
    for i in range(program.settled.size):
        result = program.settled[i]
        first = program.results[SETTLES] + result.to
        to = run.results[sample][first : first + result.size]
        accumulate(to, worker.first[result.slot], worker.steps[result.slot], worker.trains)


@part
def run_samples(run):
    """Run samples through the network while there are any: what each of the threads does that share a run."""
    worker = as_worker(run.workers[fetch_add(run.counters, WORKERS, 1)])
    since = cycles() if run.timed else 0
    while True:
        sample = fetch_add(run.counters, NEXT, 1)
        if sample >= run.counters[LAST]:
            break
        _run_sample(run, worker, sample)
    if run.timed:
        worker.cursors[ALL] += cycles() - since
