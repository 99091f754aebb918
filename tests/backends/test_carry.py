"""Carried scans: bodies keep their sums and tracers, and only changes are sent. The same integers, fewer spikes."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.backends.simulator import DELIVERIES, simulate_plain
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_simulator_properties import settled_integers

SEEDS = range(40)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_plain_simulator_settles_to_the_integers(delivery: str) -> None:
    for seed in SEEDS:
        graph, inputs = random_spiking_graph(np.random.default_rng(seed), scans=1 + seed % 2)
        outputs, seen = settled_integers(graph, inputs)
        result = simulate_plain(graph, inputs, delivery=delivery, execution="carry")
        where = f"seed {seed}, {delivery}"
        assert result.settled, where
        for name, array in outputs.items():
            np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
        for name, counts in result.counts.items():
            expected = np.stack(seen[name], axis=1) if "/" in name else seen[name][0]
            np.testing.assert_array_equal(counts, expected, err_msg=f"{where}: {name}")
