"""Functions that wait for complete levels (barrier) beside functions that tell every change (difference): spikes and steps.

    python -m benchmarks.realisations [--samples 64] [--bits 4]

A transformer encoder of two layers (PyTorch's, width 16, two heads, eight elements) and a recurrence whose state is a softmax of
its sum, both with random weights. Both realisations are held to the same integers.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

import snnir
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Add, Linear, Relu, Scan, Softmax


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--bits", type=int, default=4)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    data = generator.standard_normal((128 + arguments.samples, 8, 16)).astype(np.float32)
    columns = f"{'steps':>7} {'spikes':>8} {'operations':>11} {'multiplying':>11}"
    print(f"{'model':12} {'delivery':8} {'execution':9} {'functions':10} {columns}")
    for name, model in (("transformer", transformer()), ("softmax scan", softmax_scan(generator))):
        made = {
            kind: snnir.compile(model, calibration=data[:128], bits=arguments.bits, functions=kind, check=False)
            for kind in ("barrier", "difference")
        }
        runs = [("relay", "reset"), ("graded", "reset"), ("graded", "carry")] if name == "softmax scan" else [("relay", "reset")]
        for delivery, execution in runs:
            outputs = []
            for kind, program in made.items():
                result = program.run(data[128:], delivery=delivery, execution=execution)
                assert result.settled
                outputs.append(result.outputs)
                figures = (
                    f"{result.steps.sum(axis=1).mean():7.1f} {result.total_spikes.mean():8.0f} "
                    f"{result.total_synops.mean():11.0f} {result.total_charges.mean():11.0f}"
                )
                print(f"{name:12} {delivery:8} {execution:9} {kind:10} {figures}")
            first, second = outputs
            assert all(np.array_equal(array, second[key]) for key, array in first.items())


def transformer() -> nn.Module:
    """Two layers, with random weights."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 4)).eval()


def softmax_scan(generator: np.random.Generator) -> Graph:
    """`h = softmax(W x + U h)`, and a layer of the states."""

    def weight(graph: Graph, *shape: int) -> Value:
        return graph.constant("w", (generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32))

    batch = dim("N")
    body = Graph("cell")
    state, element = body.input("h", TensorType((batch, 12), "f32")), body.input("x", TensorType((batch, 16), "f32"))
    total = body.add1(Add(), body.add1(Linear(), element, weight(body, 12, 16)), body.add1(Linear(), state, weight(body, 12, 12)))
    following = body.add1(Softmax(1), total)
    body.output("next", following)
    body.output("each", following)
    graph = Graph("softmax_scan")
    x = graph.input("x", TensorType((batch, 8, 16), "f32"))
    start = graph.constant("start", np.zeros((1, 12), np.float32))
    _, each = graph.add(Scan(1, 1, 1), start, x, names=("last", "each"), body=body)
    hidden = graph.add1(Relu(), graph.add1(Linear(), each, weight(graph, 8, 12)))
    graph.output("y", graph.add1(Linear(), hidden, weight(graph, 4, 8)))
    return graph


if __name__ == "__main__":
    main()
