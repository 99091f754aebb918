"""The microcode of functions in a manifest: operands are registers that are there, and maps stay within them."""

from __future__ import annotations

from collections.abc import Sequence

from snnir.backends.bundle.decode_parts import PartsDecoder
from snnir.backends.bundle.fields import Fields
from snnir.machine.addresses import IndexMap
from snnir.machine.microcode import Step

__all__ = ["decode_code"]

_OPERANDS = {"constant": 0, **dict.fromkeys(("table", "sqrt", "bit_length", "sum", "max"), 1)}
"""How many operands steps have: others have two, and `join` any number from one on."""


def decode_code(work: PartsDecoder, fields: Fields, sizes: Sequence[int], result: int) -> tuple[Step, ...]:
    """The steps of a function that reads registers of these sizes and gives `result` integers."""
    registers, code = list(sizes), []
    for item in fields.objects("code"):
        code.append(_step(work, item, registers))
        registers.append(code[-1].size)
    if registers[-1] != result:
        raise fields.error(f"its last step gives {registers[-1]} integers for {result} addresses")
    return tuple(code)


def _step(work: PartsDecoder, fields: Fields, sizes: Sequence[int]) -> Step:
    kind, size, operands = fields["kind"], fields["size"], tuple(fields["operands"])
    if max(operands, default=-1) >= len(sizes):
        raise fields.error(f"register {max(operands)} is not there yet")
    if len(operands) != _OPERANDS.get(kind, 2) if kind != "join" else not operands:
        raise fields.error(f"a step {kind!r} of {len(operands)} operands is unknown")
    width = fields["width"] if kind in ("sum", "max") else 1
    extents = [sizes[operand] for operand in operands]
    if kind == "join":
        extents = [sum(extents)]
    data = None
    if kind in ("constant", "table"):
        data = work.flat(fields["data"])
        if data.size != size if kind == "constant" else not data.size:
            raise fields.error(f"a {kind} of {data.size} integers")
    return Step(kind, operands, _maps(work, fields, extents, size * width), size, width, data)


def _maps(work: PartsDecoder, fields: Fields, extents: Sequence[int], read: int) -> tuple[IndexMap | None, ...]:
    """The maps by which operands of these sizes are read."""
    given = fields["maps"]
    if len(given) != len(extents):
        raise fields.error(f"{len(given)} maps for {len(extents)} operands")
    found: list[IndexMap | None] = []
    for place, (map_, extent) in enumerate(zip(given, extents, strict=True)):
        if map_ is None and extent != read:
            raise fields.error(f"an operand of {extent} integers, and no map; {read} are read")
        least = -1 if fields["kind"] == "join" else 0
        item = Fields(map_, f"{fields.what}, map {place}")
        found.append(None if map_ is None else work.sized_map(item, read, least, extent))
    return tuple(found)
