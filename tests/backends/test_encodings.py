"""Inputs charged in portions (m-analog): the same spikes in both simulators, whole levels in the end, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from snnir.backends.simulator import ENCODINGS, Simulator
from snnir.errors import UsageError
from snnir.machine.encodings import portions
from snnir.machine.plain import simulate_plain
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_simulator_properties import assert_alike, recordable


@given(arrays.arrays(np.int64, (3, 4), elements=st.integers(-300, 300)), st.integers(1, 40))
def test_portions_are_even_and_add_up(levels: np.ndarray, steps: int) -> None:
    parts = portions(levels, steps)
    assert parts.shape == (steps, 3, 4)
    np.testing.assert_array_equal(parts.sum(axis=0), levels)
    assert (np.ptp(parts, axis=0) <= 1).all()
    assert (parts * np.sign(levels) >= 0).all()


def test_both_simulators_agree_spike_for_spike() -> None:
    changed = 0
    for seed in range(24):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed))
        record, exact = recordable(graph), Simulator(graph).run(inputs)
        for steps in (1, 3, 8):
            options: dict[str, Any] = {"steps": steps, "encoding": "m-analog", "record": record}
            fast = Simulator(graph).run(inputs, counts=True, trace=False, **options)
            plain = simulate_plain(graph, inputs, **options)
            assert_alike(fast, plain, f"seed {seed}, {steps} steps")
            whole = Simulator(graph).run(inputs, counts=True, steps=steps, record=record)
            changed += any(not np.array_equal(whole.rasters[name], fast.rasters[name]) for name in record)
            if steps == 1:
                np.testing.assert_array_equal(whole.steps, fast.steps)
            if fast.settled:  # whatever came when, all of it came
                for name, expected in exact.outputs.items():
                    np.testing.assert_array_equal(fast.outputs[name], expected, err_msg=f"seed {seed}, {steps} steps")
    assert changed > 24


def test_what_m_analog_needs() -> None:
    graph, inputs = random_spiking_graph(np.random.default_rng(0))
    assert ENCODINGS == ("s-analog", "m-analog")
    for run in (Simulator(graph).run, lambda inputs, **options: simulate_plain(graph, inputs, **options)):
        with pytest.raises(UsageError, match="needs their number: give steps"):
            run(inputs, encoding="m-analog")
        with pytest.raises(UsageError, match="choose one of s-analog, m-analog"):
            run(inputs, encoding="rate")
        with pytest.raises(UsageError, match="execution is 'carry'"):
            run(inputs, encoding="m-analog", steps=4, execution="carry")
