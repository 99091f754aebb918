"""What the body of a scan receives in each window, and what leaves it."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import EVENTS, GRADED, OFFSETS, RELAY, REPLAY
from snnir.backends.simulator.kernels.memory import clear, copy, events_of, grow
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.trains import accumulate, copy_events, copy_train, send, split

__all__ = ["begin_scan", "begin_window", "end_scan", "end_window"]


@part
def begin_scan(run, worker, row):
    """Cut the sequences into elements, let the body read what it shares, and settle the initial states."""
    program, first, steps = run.program, worker.first, worker.steps
    clear(worker.stacked_ends)
    for i in range(row.elements_end - row.elements):
        element = program.elements[row.elements + i]
        if element.cut:
            worker.element_first[i] = first[element.outer]
            worker.element_steps[i] = (steps[element.outer] + 1) // max(row.length, 1) - 1
        else:
            worker.element_first[i], worker.element_steps[i] = split(element, row.length, worker)
    for i in range(row.shared, row.shared_end):
        shared = program.shared[i]
        lead = worker.lead[shared.outer]
        first[shared.slot], steps[shared.slot] = first[shared.outer] + lead, steps[shared.outer] - lead
        worker.lead[shared.slot] = 0
    for i in range(row.states, row.states_end):
        state = program.states[i]
        clear(worker.kept_states[state.level : state.level + 3 * state.size])
        level = worker.kept_states[state.level : state.level + state.size]
        accumulate(level, first[state.outer], steps[state.outer], worker.trains)


@part
def _begin_elements(run, worker, row, k, place):
    """The elements at `place`. With `carry`, receivers still hold the elements of the window before, and get the difference."""
    first, steps, trains, cursors = worker.first, worker.steps, worker.trains, worker.cursors
    for i in range(row.elements_end - row.elements):
        element = run.program.elements[row.elements + i]
        slot = element.slot
        lead = worker.lead[element.outer]
        first[slot] = worker.element_first[i] + place * (worker.element_steps[i] + 1) + lead
        steps[slot], worker.lead[slot] = worker.element_steps[i] - lead, 0
        if run.carry:
            sent = worker.kept_crossing[element.kept : element.kept + element.size]
            if k > 0:
                change = worker.differences[: sent.size]
                for j in range(sent.size):
                    change[j] = -sent[j]
                accumulate(change, first[slot], steps[slot], trains)
                first[slot] = cursors[OFFSETS]
                steps[slot] = send(change, element.encoded != 0, run.delivery == GRADED, np.int64(-1), run.cap, trains, cursors)
            else:
                clear(sent)
            accumulate(sent, first[slot], steps[slot], trains)


@part
def _resends(run, state):
    """Whether windows receive the train of a state as it was emitted in the window before."""
    return state.resent and run.delivery == RELAY and not run.carry


@part
def begin_window(run, worker, row, k, place):
    """Begin window k, of the element at `place`: the trains of elements and states."""
    program, carry, delivery = run.program, run.carry != 0, run.delivery
    first, steps, trains, cursors = worker.first, worker.steps, worker.trains, worker.cursors
    _begin_elements(run, worker, row, k, place)
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        level = worker.kept_states[state.level : state.level + state.size]
        before = worker.kept_states[state.level + state.size : state.level + 2 * state.size]
        sent = worker.kept_states[state.level + 2 * state.size : state.level + 3 * state.size]
        slot = state.slot
        if k > 0 and _resends(run, state):
            steps[slot], cursors[EVENTS] = copy_train(
                worker.state_first[i], worker.state_steps[i], worker.state_trains, before, np.int64(1), np.bool_(False),
                worker, trains, cursors[OFFSETS], cursors[EVENTS],
            )  # fmt: skip
            first[slot], worker.lead[slot] = cursors[OFFSETS], 0
            cursors[OFFSETS] += steps[slot] + 1
            continue
        if delivery == REPLAY and k == 0:
            first[slot], steps[slot] = first[state.outer], steps[state.outer]
            continue
        first[slot] = cursors[OFFSETS]
        if delivery == REPLAY:
            # The first train of a carried state counts from 0, but its receivers hold what the state started as.
            steps[slot], cursors[EVENTS] = copy_train(
                worker.state_first[i], worker.state_steps[i], worker.state_trains, before, np.int64(-1), carry and k == 1,
                worker, trains, cursors[OFFSETS], cursors[EVENTS],
            )  # fmt: skip
            cursors[OFFSETS] += steps[slot] + 1
        else:
            change = worker.differences[: state.size]
            for j in range(state.size):
                change[j] = level[j] - sent[j]
            bits = state.bits if program.few else np.int64(-1)
            steps[slot] = send(change, np.bool_(False), delivery == GRADED, bits, run.cap, trains, cursors)
            worker.lead[slot] = 0
            if carry:
                accumulate(sent, first[slot], steps[slot], trains)
    if carry and k > 0:  # receivers keep what they received: shared values do not change
        for i in range(row.shared, row.shared_end):
            steps[program.shared[i].slot] = 0


@part
def end_window(run, worker, row, k, place):
    """End window k: what states have become, and what leaves the body."""
    program, carry, first, steps, trains = run.program, run.carry != 0, worker.first, worker.steps, worker.trains
    cursor, base = np.int64(0), np.int64(0)
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        level = worker.kept_states[state.level : state.level + state.size]
        slot, resends = state.following, _resends(run, state)
        if not resends:
            copy(worker.kept_states[state.level + state.size : state.level + 2 * state.size], level)
            if not (carry and k > 0):
                clear(level)
            accumulate(level, first[slot], steps[slot], trains)
        if resends or run.delivery == REPLAY or k == row.length - 1:
            worker.state_first[i] = base
            worker.state_steps[i], cursor = copy_train(
                first[slot] + worker.lead[slot], steps[slot] - worker.lead[slot], trains, level, np.int64(1), np.bool_(False),
                worker, worker.state_trains, base, cursor,
            )  # fmt: skip
            base += worker.state_steps[i] + 1
    ends = worker.stacked_ends
    for i in range(row.stacked_end - row.stacked):
        value = program.stacked[row.stacked + i]
        level = worker.kept_crossing[value.level : value.level + value.size]
        if k == 0:
            clear(level)
        window, base = i * row.length + place, ends[0]
        # Receivers outside are fresh, so they first receive what the body keeps.
        copied, cursor = copy_train(
            first[value.slot] + worker.lead[value.slot], steps[value.slot] - worker.lead[value.slot], trains, level, np.int64(1),
            carry and k > 0, worker, worker.stacked_trains, base, ends[1],
        )  # fmt: skip
        worker.stacked_first[window], worker.stacked_steps[window] = base, copied
        ends[0], ends[1] = base + copied + 1, cursor
        if carry:
            clear(level)
            accumulate(level, base, copied, worker.stacked_trains)


@part
def _longest_window(worker, window, length):
    """The steps of the longest of the stacked trains number window..window+length-1, and the events of all of them."""
    offsets, _, _ = events_of(worker.stacked_trains)
    steps, count = 0, 0
    for k in range(window, window + length):
        steps = max(steps, worker.stacked_steps[k])
        count += offsets[worker.stacked_first[k] + worker.stacked_steps[k]] - offsets[worker.stacked_first[k]]
    return steps, count


@part
def _line_up_windows(run, worker, row, i):
    """The stacked value number i, each window's train by itself: of as many steps as the longest, and an empty one behind."""
    trains, cursors, value = worker.trains, worker.cursors, run.program.stacked[row.stacked + i]
    own_offsets, own_address, own_event = events_of(worker.stacked_trains)
    window = i * row.length
    steps, count = _longest_window(worker, window, row.length)
    base, cursor, extent = cursors[OFFSETS], cursors[EVENTS], max(row.length * (steps + 1), 1)
    grow(trains, base + extent, cursor + count)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for k in range(row.length):
        first, last = worker.stacked_first[window + k], worker.stacked_steps[window + k]
        begin, end = own_offsets[first], own_offsets[first + last]
        for t in range(steps + 1):
            offsets[base + k * (steps + 1) + t] = cursor + own_offsets[first + min(t, last)] - begin
        copy_events(own_address, own_event, begin, end, address, event, cursor, np.int32(0))
        cursor += end - begin
    worker.first[value.outer], worker.steps[value.outer], worker.lead[value.outer] = base, extent - 1, 0
    cursors[OFFSETS], cursors[EVENTS] = base + extent, cursor


@part
def _join_windows(run, worker, row, i):
    """The stacked value number i of all windows as one train."""
    trains, cursors, value = worker.trains, worker.cursors, run.program.stacked[row.stacked + i]
    own_offsets, own_address, own_event = events_of(worker.stacked_trains)
    window = i * row.length
    steps, count = _longest_window(worker, window, row.length)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + steps + 1, cursor + count)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(steps):
        for k in range(row.length):
            if t < worker.stacked_steps[window + k]:
                step = worker.stacked_first[window + k] + t
                first, last = own_offsets[step], own_offsets[step + 1]
                copy_events(own_address, own_event, first, last, address, event, cursor, np.int32(k * value.size))
                cursor += last - first
        offsets[base + t + 1] = cursor
    worker.first[value.outer], worker.steps[value.outer], worker.lead[value.outer] = base, steps, 0
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@part
def end_scan(run, worker, row):
    """The last states, and the values of all windows as one train."""
    first, steps, trains, cursors = worker.first, worker.steps, worker.trains, worker.cursors
    for i in range(row.states_end - row.states):
        state = run.program.states[row.states + i]
        worker.lead[state.final] = 0
        if row.length == 0:
            first[state.final], steps[state.final] = first[state.outer], steps[state.outer]
            continue
        before = worker.kept_states[state.level + state.size : state.level + 2 * state.size]
        base = cursors[OFFSETS]
        copied, cursors[EVENTS] = copy_train(
            worker.state_first[i], worker.state_steps[i], worker.state_trains, before, np.int64(1),
            run.carry != 0 and row.length > 1, worker, trains, base, cursors[EVENTS],
        )  # fmt: skip
        first[state.final], steps[state.final] = base, copied
        cursors[OFFSETS] += copied + 1
    for i in range(row.stacked_end - row.stacked):
        if run.program.stacked[row.stacked + i].cut:
            _line_up_windows(run, worker, row, i)
        else:
            _join_windows(run, worker, row, i)
