"""The files of a workload that all sides share: written once by the driver, read by every worker."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import snnir
from benchmarks.chain import NotAChainError, chain_of
from benchmarks.workloads import Workload
from snnir.ir.ops import Bif, Encode, Readout
from snnir.runtime.program import Program
from snnir.runtime.verification import integer_counts

__all__ = ["FEW_SPIKES_BITS", "expected", "few_spikes", "prepare"]

FEW_SPIKES_BITS = (4, 8)
"""Bits of activations of the programs with few-spike neurons."""

VERIFIED = 8
"""Samples whose every tracer is compared; outputs are compared for all."""


def few_spikes(bits: int) -> str:
    """The stem of the program with few-spike neurons and activations of so many bits."""
    return f"few-spikes-{bits}"


def expected(bits: int) -> str:
    """The stem of the outputs of its integer reference; at 4 bits it is that of the other programs."""
    return f"expected-{bits}"


def prepare(workload: Workload, folder: Path) -> dict[str, Any]:
    """Compile, verify and write a workload; returns its facts.

    `model.onnx`, `model.int8.onnx` (or a `.reason` why not), `program.snnir`, `x.npy`, `expected.npy` (outputs of the integer
    reference), for each of `FEW_SPIKES_BITS` a program with few-spike neurons and the outputs of its reference, `chain.npz` (or a
    reason), and with it `levels.npy` (the integer inputs) and `expected_integers.npy`, which times `scale.npy` is the output.
    """
    folder.mkdir(parents=True)
    x = workload.x
    onnx.save(workload.model, folder / "model.onnx")
    _int8(workload, folder)
    program = snnir.compile(workload.model, calibration=workload.calibration, check=False)
    program.save(folder / "program.snnir")
    spiking, quantized = program.graph("spiking"), program.graph("quantized")
    (given,) = spiking.inputs
    (expected,) = program.reference(x).values()
    np.save(folder / "x.npy", x)
    np.save(folder / "expected.npy", expected)
    try:
        chain_of(spiking).save(folder / "chain.npz")
    except NotAChainError as error:
        (folder / "chain.npz.reason").write_text(str(error), encoding="utf-8")
    else:
        counts = integer_counts(quantized, spiking, {given.name: x})
        readout, encoder = (next(node for node in spiking.nodes if isinstance(node.op, kind)) for kind in (Readout, Encode))
        np.save(folder / "expected_integers.npy", counts[readout.output.name])
        np.save(folder / "scale.npy", readout.operands[0].array)
        np.save(folder / "levels.npy", counts[encoder.output.name])
    others = {bits: _few_spikes(workload, folder, bits) for bits in FEW_SPIKES_BITS}
    result = program.run(x)
    (outputs,) = result.outputs.values()
    verified = program.verify(x[:VERIFIED])
    return {
        "samples": len(x),
        "settled": result.settled,
        "outputs": int(outputs.size),
        "output_mismatches": int((outputs != expected).sum()),
        "integers_verified": verified.compared,
        "integer_mismatches": verified.mismatches,
        "within_bounds": verified.within_bounds,
        "steps_mean": float(result.steps.mean()),
        "steps_max": int(result.steps.max(initial=0)),
        "peer_steps": workload.steps,
        "neurons": _neurons(program),
        "spikes_per_sample": float(result.total_spikes.mean()),
        "synops_per_sample": float(result.total_synops.mean()),
        "few_spikes": others,
    }


def _few_spikes(workload: Workload, folder: Path, bits: int) -> dict[str, Any]:
    """Compile, verify and write the workload with few-spike neurons and activations of so many bits; returns its facts."""
    x = workload.x
    program = snnir.compile(workload.model, calibration=workload.calibration, check=False, neuron="few-spikes", bits=bits)
    program.save(folder / f"{few_spikes(bits)}.snnir")
    (reference,) = program.reference(x).values()
    np.save(folder / f"{expected(bits)}.npy", reference)
    result = program.run(x)
    (outputs,) = result.outputs.values()
    verified = program.verify(x[:VERIFIED])
    return {
        "outputs": int(outputs.size),
        "output_mismatches": int((outputs != reference).sum()),
        "integers_verified": verified.compared,
        "integer_mismatches": verified.mismatches,
        "steps": int(result.steps.max(initial=0)),
        "spikes_per_sample": float(result.total_spikes.mean()),
        "synops_per_sample": float(result.total_synops.mean()),
    }


def _neurons(program: Program) -> int:
    shapes = [node.output.type.shape[1:] for _, node in program.graph("spiking").walk() if isinstance(node.op, Bif)]
    return sum(int(np.prod([int(str(size)) for size in shape])) for shape in shapes)


def _int8(workload: Workload, folder: Path) -> None:
    """ONNX Runtime's own post-training quantization of the source model, with the same calibration data."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    (name,) = (value.name for value in workload.model.graph.input)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{name: workload.calibration}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    target = folder / "model.int8.onnx"
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_static(folder / "model.onnx", target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        if not any(node.op_type == "QuantizeLinear" for node in onnx.load(target).graph.node):
            raise ValueError("its quantizer finds nothing to quantize")
    except Exception as error:  # whatever the tool cannot do is reported, not raised: the other sides still run
        target.unlink(missing_ok=True)
        message = str(error).splitlines() or [""]
        (folder / "model.int8.onnx.reason").write_text(f"{type(error).__name__}: {message[0][:150]}", encoding="utf-8")
    finally:
        root.setLevel(level)
