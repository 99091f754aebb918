"""Options are declared once: the API, the command line, training, facts and files follow."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.cli.compile import compile_command
from snnir.compiler.options import ImportKeywords, ImportOptions, Keywords
from snnir.errors import FileFormatError, UsageError
from snnir.ir.protocols import Delivery, Encoding, Execution
from snnir.machine.options import RunKeywords, RunOptions
from snnir.passes import CompileOptions, pipeline_for
from snnir.passes.options import CompileKeywords, declaration
from snnir.runtime.facts import CompileFacts
from tests.models import data, perceptron


@pytest.mark.parametrize(
    ("options", "keywords"),
    [(CompileOptions, CompileKeywords), (ImportOptions, ImportKeywords), (RunOptions, RunKeywords)],
)
def test_every_option_has_its_keyword(options: type, keywords: type) -> None:
    assert [item.name for item in dataclasses.fields(options)] == list(keywords.__annotations__)


def test_the_signature_of_compile_shows_every_option() -> None:
    shown = inspect.signature(snnir.compile).parameters
    assert set(Keywords.__annotations__) <= set(shown)
    assert "options" not in shown
    assert shown["bits"].default == 4 and shown["bits"].kind is inspect.Parameter.KEYWORD_ONLY


def test_the_command_line_has_every_option_with_its_default() -> None:
    found = {option.name: option for option in compile_command.params}
    for item in dataclasses.fields(CompileOptions):
        option = found[item.name]
        assert option.help == declaration(item).help
        if item.default is not dataclasses.MISSING:
            assert option.default == item.default


def test_options_of_another_type_or_name_are_refused() -> None:
    with pytest.raises(UsageError, match="bits='4' must be a whole number"):
        CompileOptions.of({"bits": "4"})
    with pytest.raises(UsageError, match="rounding 'up' is unknown; choose one of exact, half-up, refuse"):
        CompileOptions.of({"rounding": "up"})
    with pytest.raises(TypeError, match="bitz"):
        snnir.compile("model.onnx", bitz=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="bits"):
        pipeline_for(CompileOptions(bits=9))


def test_choices_of_a_run_are_checked_in_one_place() -> None:
    assert RunOptions.of(steps="auto", delivery="graded").delivery is Delivery.GRADED
    assert RunOptions.of(steps=3, encoding="m-analog").in_portions and RunOptions.of(execution="carry").carry
    for kind, name in ((Delivery, "delivery"), (Execution, "execution"), (Encoding, "encoding")):
        with pytest.raises(UsageError, match=f"{name} 'nonsense' is unknown; choose one of {', '.join(kind)}"):
            RunOptions.of(**{name: "nonsense"})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="execution is 'carry'"):
        RunOptions.of(steps=3, encoding="m-analog", execution="carry")
    with pytest.raises(UsageError, match="device 'cpu' is for backend 'torch'"):
        RunOptions.of(device="cpu")


def test_facts_are_a_record_and_a_mapping_and_come_back_from_files(tmp_path: Path) -> None:
    x = data(np.random.default_rng(0), 8, 6)
    program = snnir.compile(perceptron(np.random.default_rng(0)), calibration=x, bits=3, value_bits={})
    assert program.facts.options is not None and program.facts.options["bits"] == 3
    old = CompileFacts.of({"import_levels": "0 of 9 integers differ", "neuron": "bif"})
    assert old.import_levels is None and old["import_levels_sentence"] == "0 of 9 integers differ"
    assert program.facts["pipeline"] == program.facts.pipeline and "import_levels" not in program.facts
    program.save(tmp_path / "a.snnir")
    again = snnir.load(tmp_path / "a.snnir")
    assert again.facts == program.facts and again.content() == program.content()
    assert CompileFacts.of({"later": 1, "neuron": None})["later"] == 1
    with pytest.raises(ValueError, match="the fact notes is 3"):
        CompileFacts.of({"notes": 3})
    program.facts = dataclasses.replace(program.facts, source=3)  # type: ignore[arg-type]
    program.save(tmp_path / "b.snnir")
    with pytest.raises(FileFormatError, match=r"b\.snnir holds facts that snnir does not write: the fact source is 3"):
        snnir.load(tmp_path / "b.snnir")


def test_every_option_of_compiling_is_used() -> None:
    changed = {
        "bits": 3, "weight_bits": 5, "input_bits": 7, "state_bits": 6, "value_bits": {"h": 5}, "allow_host": True,
        "method": "minmax", "percentile": 99.0, "rounding": "refuse", "neuron": "few-spikes", "omitted_bits": 1,
        "gates": "product", "fit": False, "functions": "difference", "levels": 9, "iterations": 3, "channel_scales": "accurate",
    }  # fmt: skip
    clocked = {
        "steps": 7, "encoder": "rate", "reset": "hard", "initial": 0, "shift": 50, "leak": 1, "delayed": True, "first_step": -1,
    }  # fmt: skip
    assert {*changed, *clocked, "seed", "inputs"} == {item.name for item in dataclasses.fields(CompileOptions)}
    for name, value in changed.items():
        assert pipeline_for(CompileOptions.of({name: value})) != pipeline_for(CompileOptions()), name
    on_clock = CompileOptions(neuron="if")
    for name, value in clocked.items():
        assert pipeline_for(CompileOptions.of({"neuron": "if", name: value})) != pipeline_for(on_clock), name
    drawn = dataclasses.replace(on_clock, encoder="bernoulli")
    assert pipeline_for(dataclasses.replace(drawn, seed=5)) != pipeline_for(drawn)
    few = CompileOptions(neuron="few-spikes")
    assert pipeline_for(dataclasses.replace(few, inputs="planes")) != pipeline_for(few)
    with pytest.raises(UsageError, match="inputs 'planes' are for few-spike neurons"):
        CompileOptions(inputs="planes")
