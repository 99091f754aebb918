"""The options of compiling, each declared once.

`snnir.compile`, `snnir compile`, `snnir.torch.trainable`, the facts of a program and its file read this declaration. An option
is a field of `CompileOptions` with its help, its line in `CompileKeywords` (what type checkers and editors see of
`snnir.compile`), and its use in `pipeline_for` (`pipelines.py`). Ranges are checked by the passes that take the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, TypedDict

from snnir.errors import UsageError
from snnir.ir.ops.clocked import ENCODERS, RESETS
from snnir.ir.phases import FEW_SPIKES, INTEGRATE_FIRE, NEURONS
from snnir.ir.protocols import Functions
from snnir.passes.choose_factors import ACCURATE, THRIFTY

__all__ = ["CompileKeywords", "CompileOptions", "Declaration", "declaration"]


@dataclass(frozen=True)
class Declaration:
    """What the command line says of an option."""

    help: str
    choices: tuple[str, ...] = ()
    """The values of an option of strings, where they are few."""
    metavar: str | None = None
    trainable: bool = True
    """Whether `snnir.torch.trainable` takes it: what is decided before the weights are quantized."""


def _option(default: Any, help: str, choices: tuple[str, ...] = (), metavar: str | None = None, trainable: bool = True) -> Any:
    metadata = {"option": Declaration(help, choices, metavar, trainable)}
    return field(default_factory=dict, metadata=metadata) if default is None else field(default=default, metadata=metadata)


def declaration(item: Field[Any]) -> Declaration:
    """What is declared of a field of `CompileOptions`."""
    found = item.metadata["option"]
    assert isinstance(found, Declaration)
    return found


class CompileKeywords(TypedDict, total=False):
    """`CompileOptions` as keyword arguments; a test holds the two together."""

    bits: int
    weight_bits: int
    input_bits: int
    state_bits: int
    value_bits: Mapping[str, int] | None
    allow_host: bool
    method: str
    percentile: float
    fit: bool
    rounding: str
    neuron: str
    omitted_bits: int
    gates: str
    inputs: str
    functions: str
    levels: int
    steps: int
    encoder: str
    seed: int
    reset: str
    initial: int
    shift: int
    leak: int
    delayed: bool
    first_step: int
    iterations: int
    channel_scales: str


@dataclass(frozen=True)
class CompileOptions:
    """How a model is quantized and which neurons it gets. Raises `UsageError` for values of another type."""

    bits: int = _option(4, "Bits of activations, 2 to 8.")
    weight_bits: int = _option(8, "Bits of weights, 2 to 16.")
    input_bits: int = _option(
        0,
        "Bits of the model's inputs, and of what the host computes from them, 2 to 16; 0: as many as the rest needs.",
    )
    state_bits: int = _option(0, "Bits of states that add up (LSTM cells, GRU), 2 to 16; 0: two more than --bits.")
    value_bits: Mapping[str, int] = _option(
        None, "Bits of one value, by the name that verify, run and debug print; may be given again.", metavar="NAME=BITS"
    )
    allow_host: bool = _option(False, "Let ops without spiking form inside the network run on the host.")
    method: str = _option("mse", "How scales are chosen: mse, percentile, minmax, balance or balance-channels.")
    percentile: float = _option(99.9, "Share of the data in range, for the percentile method.")
    fit: bool = _option(
        True,
        "Fit channels, weights and their rounding to calibration data, for outputs closer to the model's.",
        trainable=False,
    )
    rounding: str = _option(
        "exact",
        "Quantized models: what becomes of ties that no constant V(0) rounds as the model does.",
        choices=("exact", "half-up", "refuse"),
        trainable=False,
    )
    neuron: str = _option(
        "bif",
        "The family of neurons: bif sends one level a spike, few-spikes the bits of the level, if runs on a clock of --steps.",
        choices=NEURONS,
        trainable=False,
    )

    omitted_bits: int = _option(
        0, "Few-spike neurons: how many of the last bits of levels they do not send; an error for fewer spikes.", trainable=False
    )

    gates: str = _option(
        "table",
        "SiLU, hard swish, GELU, mish: a table of the complete sum, or a product of two populations.",
        choices=("table", "product"),
        trainable=False,
    )
    inputs: str = _option(
        "charged",
        "How levels of inputs enter: charged whole, which multiplies weights by them, or as bit planes of few-spike neurons.",
        choices=("charged", "planes"),
        trainable=False,
    )

    functions: str = _option(
        "barrier",
        "Functions inside the network: barrier waits for complete levels, difference tells every change (bif neurons only).",
        choices=tuple(each.value for each in Functions),
        trainable=False,
    )
    levels: int = _option(
        0, "Activations have the levels 0..LEVELS instead of those of --bits; 0: those of --bits.", trainable=False
    )
    steps: int = _option(
        32, "Integrate-and-fire neurons: the steps T of the clock, and so the levels of activations.", trainable=False
    )
    encoder: str = _option(
        "constant",
        "Integrate-and-fire neurons: inputs send their whole level in every step, evenly spaced spikes, or drawn ones.",
        choices=ENCODERS,
        trainable=False,
    )
    seed: int = _option(0, "Integrate-and-fire neurons: the seed of the encoder bernoulli.", trainable=False)
    reset: str = _option(
        "soft",
        "Integrate-and-fire neurons: a spike takes theta off the potential (soft), or sets it to 0 (hard).",
        choices=RESETS,
        trainable=False,
    )
    initial: int = _option(50, "Integrate-and-fire neurons: hundredths of theta that potentials start with.", trainable=False)
    shift: int = _option(0, "Integrate-and-fire neurons: hundredths of theta that all steps together add.", trainable=False)
    leak: int = _option(
        0, "Integrate-and-fire neurons: potentials lose 2^-LEAK of themselves each step; 0: nothing.", trainable=False
    )
    delayed: bool = _option(False, "Integrate-and-fire neurons: a spike resets one step later.", trainable=False)
    first_step: int = _option(
        0, "Integrate-and-fire neurons: the step from which on readouts average; -1 estimates it.", trainable=False
    )
    iterations: int = _option(256, "Batches in which the methods balance and balance-channels move thresholds.", trainable=False)
    channel_scales: str = _option(
        THRIFTY,
        "Finer levels for channels of small range: thrifty where they give more for their spikes than bits, accurate more often.",
        choices=(THRIFTY, ACCURATE),
    )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> CompileOptions:
        """Options by name. Raises `TypeError` for a name that is none, `UsageError` for values of another type."""
        return cls(**{name: value for name, value in options.items() if (name, value) != ("value_bits", None)})

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(item.default, int) and not isinstance(item.default, bool):
                if not isinstance(value, int) or isinstance(value, bool):
                    raise UsageError(f"{item.name}={value!r} must be a whole number")
            elif (choices := declaration(item).choices) and value not in choices:
                raise UsageError(f"{item.name} {value!r} is unknown; choose one of {', '.join(choices)}")
        if self.inputs == "planes" and self.neuron != FEW_SPIKES:
            raise UsageError(
                f"inputs 'planes' are for few-spike neurons, which emit bits, and neuron is {self.neuron!r}: choose charged "
                "inputs, or neuron few-spikes (--neuron few-spikes)"
            )

        if self.steps < 1 or self.levels < 0:
            raise UsageError(
                f"steps={self.steps} and levels={self.levels} are numbers of steps (1 or more) and levels (0: of bits)"
            )
        if self.neuron == INTEGRATE_FIRE and self.levels:
            raise UsageError("levels of integrate-and-fire neurons are their steps: give steps (--steps), and leave levels away")
        if self.neuron == INTEGRATE_FIRE and (self.omitted_bits or self.functions != "barrier"):
            raise UsageError("omitted_bits and functions are for neurons that settle, and neuron is 'if': leave them away")

    @property
    def clocked(self) -> bool:
        """Whether neurons run on a clock."""
        return self.neuron == INTEGRATE_FIRE

    def facts(self) -> dict[str, object]:
        """All options by name, for the file of a program."""
        return asdict(self)
