"""Populations and readouts, with the synapses into them."""

from __future__ import annotations

import dataclasses

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import ops
from snnir.ir.graph import Node
from snnir.machine.addresses import IndexMap, spread
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.lowering.synapses import synapse_of
from snnir.machine.program import FewSpikes, IntegrateFire, Population, Readout, Synapse, Train

__all__ = ["sums_of"]


@lowers(ops.Population)
def population(work: Lowering, node: Node) -> None:
    """Thresholds become one row for each distinct parameter."""
    op, value = node.expect(ops.Population), node.output
    shape = work.sample(value)
    common = sums_of(work, node, shape)
    rows = work.constant(node, node.operands[0]).astype(np.int64)
    own = rows.shape[1:] if op.staircase else rows.shape
    theta = rows.reshape(rows.shape[0], int(np.prod(own))).T if op.staircase else rows.reshape(-1)
    train = work.root(value, shape)
    neurons = train, *common, np.ascontiguousarray(theta), spread(own, shape), op.staircase
    if isinstance(op, ops.If):
        work.add(IntegrateFire(*neurons[:-1], op.reset, op.initial, op.shift, op.leak, op.delayed))
    elif isinstance(op, ops.Fs):
        assert work.phases is not None
        work.add(FewSpikes(*neurons, work.phases.of[value].first, op.omitted))
    else:
        work.add(Population(*neurons))


@lowers(ops.Readout)
def readout(work: Lowering, node: Node) -> None:
    """A readout's sums are known by its name."""
    value = node.output
    shape = work.sample(value)
    common = sums_of(work, node, shape)
    scale = work.constant(node, node.operands[0]).astype(np.float64)
    name = work.name(value.name)
    work.readouts[value] = name
    work.late.add(value)
    work.add(Readout(Train(name, shape, 0, 0, 1.0), *common, scale.reshape(-1), spread(scale.shape, shape)))


def sums_of(work: Lowering, node: Node, shape: tuple[int, ...]) -> tuple[tuple[Synapse, ...], np.ndarray, IndexMap]:
    """The synapses, and the sums that neurons start with: their bias and those of the synaptic ops."""
    op = node.expect(ops.Summing)
    at = op.bias_at
    synapses, trains, bias = [], [], work.constant(node, node.operands[at]).astype(np.int64)
    for current in node.operands[at + 1 :]:
        if current not in work.currents:
            raise UnsupportedError(f"{node.describe()}: {current.name} must come from a synapse")
        synapse, train, own = synapse_of(work, work.currents[current], shape)
        synapses.append(synapse)
        trains.append(train)
        bias = bias if own is None else bias + own
    given = zip(synapses, work.in_one_segment(trains), strict=True)
    synapses = [dataclasses.replace(synapse, source=train.name) for synapse, train in given]
    return tuple(synapses), bias.reshape(-1), spread(bias.shape, shape)
