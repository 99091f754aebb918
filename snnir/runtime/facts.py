"""What is known of how a program was compiled, as one record that files hold too."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["CompileFacts", "given_levels_text", "import_levels_text"]


def import_levels_text(levels: Mapping[str, Any]) -> str:
    """`CompileFacts.import_levels` for people."""
    if domains := levels.get("unknown_domains"):
        return f"not compared: ONNX Runtime does not know operators of {', '.join(domains)}"
    said = f"{levels['differing']} of {levels['compared']} integers differ from ONNX Runtime's"
    said += f", by {levels['largest_difference']} at most"
    return said + (f"; {levels['next_to_a_tie']} of them are next to a tie" if levels["next_to_a_tie"] else "")


def given_levels_text(levels: Mapping[str, Any]) -> str:
    """`CompileFacts.given_levels` for people."""
    said = f"{levels['differing']} of {levels['compared']} integers"
    return f"{said} of the model's own quantizers differ once weights are integers"


@dataclass(frozen=True, eq=False)
class CompileFacts(Mapping[str, object]):
    """How a program came about. As a mapping it holds what is known by name, and nothing that is None.

    `other` holds what a file says besides: facts of bundles, or of a later version of snnir.
    """

    def __repr__(self) -> str:
        return f"<CompileFacts of {self.source or 'a program'}: {', '.join(self)}>"

    source: str | None = None
    """The file of the model, or its name."""
    pipeline: str | None = None
    """The passes that ran, as text."""
    options: Mapping[str, object] | None = None
    """`CompileOptions` by name; None where the pipeline was given as text, or the program is older."""
    checked: bool | None = None
    """Whether every pass was held to its promise on a few samples."""
    calibration_samples: int | None = None
    notes: Sequence[str] | None = None
    """What the import had to say."""
    provenance: str | None = None
    """Who made the model."""
    metadata: Mapping[str, str] | None = None
    """What the model says of itself."""
    import_error: float | None = None
    """The largest relative difference between the import and the model itself; None where they were not compared."""
    import_levels: Mapping[str, Any] | None = None
    """Quantized models: how many integers of the import were `compared` with ONNX Runtime's, how many are `differing` (of these
    `next_to_a_tie`) and by how much (`largest_difference`); or 0 `compared`, and the `unknown_domains` of operators."""
    given_levels: Mapping[str, Any] | None = None
    """Quantized models: how many integers on the model's own grids were `compared` with the import's, how many `differing`."""
    remarks: Sequence[str] | None = None
    """What the passes had to say."""
    neuron: str | None = None
    """The family of neurons."""
    host_nodes: Sequence[str] | None = None
    """The nodes that the host computes."""
    spiking_mac_share: float | None = None
    """The share of the multiply-accumulates that spikes compute."""
    distances: Sequence[Mapping[str, Any]] | None = None
    """How far each output is from the float model's on calibration data (`snnir.runtime.accuracy.Distance`)."""
    clipped_inputs: Mapping[str, float] | None = None
    """The share of each input's calibration data that lies beyond its levels, where there is any: the scale pays for it."""
    warnings: Sequence[Mapping[str, Any]] | None = None
    """What the compiler warns of (`snnir.runtime.accuracy.Diagnostic`)."""
    other: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> CompileFacts:
        """Facts by name. Raises `ValueError` naming a fact that is of another type than it has here.

        Files of before 0.1.0 hold sentences where numbers of integers stand now: these are kept as `NAME_sentence`.
        """
        sentences = {name for name in ("import_levels", "given_levels") if isinstance(facts.get(name), str)}
        return cls() | {f"{name}_sentence" if name in sentences else name: value for name, value in facts.items()}

    def __or__(self, facts: Mapping[str, object]) -> CompileFacts:
        """These facts and others. Raises `ValueError` naming a fact that is of another type than it has here."""
        known = {name: value for name, value in facts.items() if name in _TYPES and value is not None}
        for name, value in known.items():
            if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and bool not in _TYPES[name]):
                raise ValueError(f"the fact {name} is {value!r}")
        other = {**self.other, **{name: value for name, value in facts.items() if name not in _TYPES}}
        changed: dict[str, Any] = {**known, "other": other}
        return dataclasses.replace(self, **changed)

    def __getitem__(self, name: str) -> object:
        value = getattr(self, name) if name in _TYPES else self.other[name]
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in _TYPES if getattr(self, name) is not None)
        yield from self.other

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _runtime_types() -> dict[str, tuple[type, ...]]:
    """The types of each fact, for `isinstance`; a file's whole number may stand for a real one."""
    found = {}
    for name, hint in get_type_hints(CompileFacts).items():
        if name != "other":
            parts = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            kinds = tuple(get_origin(part) or part for part in parts if part is not types.NoneType)
            found[name] = (*kinds, int) if float in kinds else kinds
    return found


_TYPES = _runtime_types()
