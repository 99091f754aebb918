"""A real CRNN that nobody here wrote: Silero VAD compiles as it is and follows the float model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.ops import Lstm

EXAMPLE = Path(__file__).parent.parent / "examples" / "silero"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("silero_example", EXAMPLE / "vad.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def speech(example: ModuleType) -> np.ndarray:
    chunks: np.ndarray = example.read_speech(EXAMPLE / "speech.npz")
    return chunks


def test_one_sequence_without_a_batch_becomes_any_number(example: ModuleType) -> None:
    graph = snnir.import_model(example.find_model())
    assert [str(value.type) for value in graph.inputs] == ["Nxsequence_lengthx576:f32", "1xNx128:f32", "1xNx128:f32"]
    assert sum(isinstance(node.op, Lstm) for node in graph.nodes) == 1
    assert str(graph.outputs["speech_probs"].type) == "Nxsequence_length:f32"
    assert any("each sample is computed by itself" in note for note in graph.notes)


@pytest.mark.parametrize(("bits", "agreement", "difference"), [(8, 0.99, 0.015), (6, 0.97, 0.03), (4, 0.85, 0.15)])
def test_decisions_follow_the_float_model(
    example: ModuleType, speech: np.ndarray, record_property: object, bits: int, agreement: float, difference: float
) -> None:
    model, half = example.find_model(), len(speech) // 2
    data = example.feeds(speech[half:])
    expected = run_onnxruntime(model, data, example.STATE_AXES)["speech_probs"]
    assert 0.2 < (expected > 0.5).mean() < 0.9, "speech and silence, both"
    program = snnir.compile(model, calibration=example.feeds(speech[:half]), bits=bits, **example.precision(bits))
    result = program.run(data)
    found = result.outputs["speech_probs"]
    alike = float(((found > 0.5) == (expected > 0.5)).mean())
    mean = float(np.abs(found - expected).mean())
    assert callable(record_property)
    record_property(
        "summary", f"Silero VAD, {bits} bits: {100 * alike:.2f} % of decisions as the float model, mean difference {mean:.4f}"
    )
    assert result.settled
    assert alike >= agreement
    assert mean <= difference


def test_both_executions_are_exact_and_carry_sends_less(example: ModuleType, speech: np.ndarray) -> None:
    program = snnir.compile(example.find_model(), calibration=example.feeds(speech[:8]), bits=4, **example.precision(4))
    data = example.feeds(speech[8:11, :24])
    for delivery, execution in (("relay", "reset"), ("relay", "carry"), ("replay", "reset"), ("graded", "carry")):
        verification = program.verify(data, delivery=delivery, execution=execution)
        assert verification.ok
        assert verification.within_bounds
    assert program.compare_executions(data).ratio > 1.5


def test_check_shows_one_recurrence_and_what_the_host_does(example: ModuleType) -> None:
    found = snnir.check(example.find_model())
    assert found.ok
    assert [(item.kind, item.name, item.states, str(item.length)) for item in found.recurrences] == [
        ("LSTM layer", "/recurrent/LSTM", 2, "sequence_length")
    ]
    fates = {node.name: (node.fate, node.reason) for node in found.nodes}
    assert fates["/stft/Sqrt"] == ("host", "before the network: only the host computes sqrt")
    assert fates["/recurrent/LSTM"] == ("spiking", "")
    assert fates["/encoder.0/Conv"] == ("spiking", "")
    assert fates["/stft/Constant"] == ("folded", "known while compiling")
    assert set(found.steps) == {"", next(name for name in found.steps if name)}
