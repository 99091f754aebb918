"""Scales of values that few samples show leave room for the next ones; many samples, and maps, need none."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import BATCH, dim
from snnir.ir.ops import Linear, Relu
from snnir.passes.headroom import MOST_SAMPLES, Headroom, one_number_each
from snnir.runtime.accuracy import measure

N = dim(BATCH)


def test_one_more_sample_lies_beyond_the_last_by_the_spacing_before_it() -> None:
    room = Headroom()
    for part in (np.array([[1.0, -1.0], [5.0, -2.0]]), np.array([[3.0, -6.0], [4.0, -3.0]])):
        room.add(part, 0)
    assert sorted(room.beyond().tolist()) == [-9.0, 6.0]
    assert Headroom().beyond().size == 0


@pytest.mark.parametrize("samples", [4, 16, 64])
def test_spacing_is_what_the_next_sample_exceeds_the_largest_by(samples: int) -> None:
    """Over many draws of exponential numbers, mean excess of those that exceed, and mean spacing, are the same."""
    drawn = np.random.default_rng(samples).exponential(size=(samples + 1, 200_000))
    room = Headroom()
    room.add(drawn[:-1], 0)
    seen = drawn[:-1].max(axis=0)
    excess = (drawn[-1] - seen)[drawn[-1] > seen]
    assert abs(excess.size * (samples + 1) / drawn.shape[1] - 1) < 0.1
    spacing = room.beyond()[: drawn.shape[1]] - seen
    assert spacing.mean() == pytest.approx(excess.mean(), rel=0.1)
    assert (spacing**2).mean() == pytest.approx((excess**2).mean(), rel=0.2)


@pytest.mark.parametrize(("shape", "found"), [((8, 5), True), ((8, 5, 1, 1), True), ((8,), True), ((8, 5, 3), False)])
def test_maps_show_many_numbers_of_a_channel(shape: tuple[int, ...], found: bool) -> None:
    assert one_number_each(np.zeros(shape), 0) is found


def _layers(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    graph = Graph("layers")
    value = graph.input("x", TensorType((N, 12), "f32"))
    for index, (ins, outs) in enumerate([(12, 24), (24, 4)]):
        weights = rng.normal(size=(outs, ins)) / np.sqrt(ins)
        value = graph.add1(Linear(), value, graph.constant(f"w{index}", weights.astype(np.float32)))
        value = graph.add1(Relu(), value, name=f"h{index}") if index == 0 else value
    graph.output("y", value)
    return graph


def _loss(count: int, seed: int, monkeypatch: pytest.MonkeyPatch, without: bool) -> float:
    """The signal by noise on 2,000 samples of exponential tails, in dB, with `count` others for calibration."""
    rng = np.random.default_rng([seed, count])
    seen, unseen = (rng.laplace(size=(n, 12)).astype(np.float32) for n in (count, 2000))
    with monkeypatch.context() as patch:
        if without:
            patch.setattr("snnir.passes.calibrate.MOST_SAMPLES", 0)
        program = snnir.compile(_layers(seed), calibration=seen, bits=8, fit=False, check=False)
    (distance,) = measure(program.graph("float"), program.graph("quantized"), {"x": unseen})
    return distance.sqnr


def test_few_samples_lose_less_with_room_and_many_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = [_loss(24, seed, monkeypatch, False) - _loss(24, seed, monkeypatch, True) for seed in range(6)]
    assert np.mean(gains) > 1
    many = MOST_SAMPLES + 1
    assert _loss(many, 0, monkeypatch, False) == _loss(many, 0, monkeypatch, True)
