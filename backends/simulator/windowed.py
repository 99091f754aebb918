"""Which sequences of windows stay cut: one scan writes them window by window, and only other scans read them, by elements."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.tables import Tables

__all__ = ["keep_cut"]


def keep_cut(tables: Tables) -> None:
    """Mark, in the tables of elements and stacked values, those whose trains are never joined: what one scan stacks and others
    take element by element, over as many windows. Joining and cutting again would copy every event three times.
    """
    whole = [tables.parts["slot"], tables.inputs, tables.combinations["input"], tables.function_sources["slot"]]
    whole += [tables.shared["outer"], tables.states["outer"], tables.stacked["slot"], tables.settled["slot"]]
    read_whole = set(np.concatenate(whole).tolist())
    lengths = {
        (table, row): int(window["length"])
        for window in tables.windows
        for table in ("elements", "stacked")
        for row in range(window[table], window[f"{table}_end"])
    }
    readers: dict[int, list[int]] = {}
    for row, element in enumerate(tables.elements):
        readers.setdefault(int(element["outer"]), []).append(row)
    for row, value in enumerate(tables.stacked):
        slot, extent = int(value["outer"]), (lengths["stacked", row], int(value["size"]))
        own = readers.get(slot, [])
        if slot in read_whole or any((lengths["elements", k], int(tables.elements["size"][k])) != extent for k in own):
            continue
        tables.stacked["cut"][row] = 1
        tables.elements["cut"][own] = 1
