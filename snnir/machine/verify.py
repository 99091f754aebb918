"""What holds of every machine program: names, sizes, and indices that stay within what they count through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from snnir.errors import GraphError
from snnir.machine.program import IntegerProgram, Op, Scan, Train, trains_of
from snnir.machine.text import kind_of

__all__ = ["verify"]


def verify(program: IntegerProgram) -> None:
    """Raise `GraphError` naming the first op that is not well-formed, and what is wrong with it."""
    known: dict[str, Train] = {}
    names: set[str] = set()
    _ops(program.ops, known, names, program.name)
    everything = set(known).union(*(_inside(op) for op in program.ops))
    for output in program.outputs:
        held = {"levels": set(known), "real": everything, "host": {""}}.get(output.kind)
        if held is None or output.source not in held:
            raise GraphError(
                f"machine program {program.name}: output {output.name}: {output.kind} of {output.source!r} is unknown"
            )


def _inside(op: Op) -> set[str]:
    return {train.name for inner in op.ops for train in trains_of(inner)} if isinstance(op, Scan) else set()


def _ops(ops: Sequence[Op], known: dict[str, Train], names: set[str], where: str) -> None:
    for op in ops:
        what = f"machine program {where}: {kind_of(type(op))} {op.name if isinstance(op, Scan) else op.train.name}"
        if isinstance(op, Scan):
            problems = _scan(op, known, names, where)
        else:
            missing = [source for source in op.sources if source not in known]
            if missing:
                raise GraphError(f"{what}: train {missing[0]!r} is not there yet")
            problems = op.problems(known)
            _enter(op.train, known, names, what)
        for problem in problems:
            raise GraphError(f"{what}: {problem}")
        if isinstance(op, Scan):
            for train in (*(state.final for state in op.states), *(result.train for result in op.results)):
                _enter(train, known, names, what)


def _enter(train: Train, known: dict[str, Train], names: set[str], what: str) -> None:
    if train.name in names:
        raise GraphError(f"{what}: two trains are called {train.name!r}")
    if not train.lo <= train.hi:
        raise GraphError(f"{what}: train {train.name!r} has levels {train.lo}..{train.hi}")
    names.add(train.name)
    known[train.name] = train


def _scan(op: Scan, known: Mapping[str, Train], names: set[str], where: str) -> Iterator[str]:
    """What is wrong with a scan; its body is verified on the way."""
    inside: dict[str, Train] = {}
    what = f"machine program {where}: scan {op.name}"
    if op.windows < 0:
        yield f"it has {op.windows} windows"
    for train, source, count in (
        *((state.input, state.initial, 1) for state in op.states),
        *((element.input, element.source, op.windows) for element in op.elements),
        *((shared.input, shared.source, 1) for shared in op.shared),
    ):
        if source not in known:
            yield f"train {source!r} is not there yet"
        elif known[source].size != train.size * count:
            yield f"{train.name!r} takes {train.size * count} addresses of {source!r}, which has {known[source].size}"
        _enter(train, inside, names, what)
    _ops(op.ops, inside, names, where)
    for outer, source, size in (
        *((state.final, state.following, state.input.size * max(op.windows, 1)) for state in op.states),
        *((result.train, result.source, result.train.size) for result in op.results),
    ):
        if source not in inside:
            yield f"{outer.name!r} is made of {source!r}, which its body lacks"
        elif inside[source].size * op.windows != size and op.windows:
            yield f"{outer.name!r} does not fit {op.windows} windows of {inside[source].size} addresses"
    for state in op.states:
        if state.final.size != state.input.size:
            yield f"its state {state.input.name!r} has {state.input.size} addresses, and {state.final.size} at its end"
