"""What must be shown, read off the measurements: each line with its figure, met or missed."""

from __future__ import annotations

from typing import Any

__all__ = ["bars", "fastest_peer", "median", "row_share"]

OURS = "snnir"
FEW_SPIKES = ("snnir, few-spikes, 4 bits", "snnir, few-spikes, 8 bits")
PEERS = ("SpikingJelly", "sinabs", "Norse", "snnTorch")
WIDE = 512


def median(facts: dict[str, Any], workload: str, batch: int, side: str) -> float | None:
    """Seconds of one call of a side; None where it was not measured."""
    found = facts["workloads"].get(workload, {}).get("batches", {}).get(str(batch), {}).get("sides", {}).get(side, {})
    return found["seconds"]["median"] if "seconds" in found else None


def fastest_peer(facts: dict[str, Any], workload: str, batch: int, exact: bool = False) -> tuple[str, float] | None:
    """The fastest spiking library on a workload and its seconds; with `exact` of those whose outputs are the integers."""
    sides = facts["workloads"].get(workload, {}).get("batches", {}).get(str(batch), {}).get("sides", {})
    times = {
        side: row["seconds"]["median"]
        for side, row in sides.items()
        if side.startswith(PEERS) and "seconds" in row and (not exact or row["agreement"]["equal"] == 1)
    }
    return min(times.items(), key=lambda item: item[1]) if times else None


def row_share(facts: dict[str, Any]) -> list[tuple[float, float]]:
    """(width, share of the machine's row-addition limit) of the perceptrons whose width is varied."""
    points = facts.get("scaling", {}).get("neurons a layer", {}).get("points", [])
    return [(row["value"], row["limit_seconds"]["median"] / row["seconds"]["median"]) for row in points if row["limit_seconds"]]


def bars(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what is asked, what was measured, met / missed / not measured)."""
    rows = [_exact(facts)]
    for workload in ("mlp", "lenet", "conv_stack"):
        asked, peer = f"{workload}, batch 64: 10 x the fastest peer", fastest_peer(facts, workload, 64)
        own, exact = median(facts, workload, 64, OURS), fastest_peer(facts, workload, 64, exact=True)
        if peer is None or own is None:
            rows.append((asked, "-", "not measured"))
        else:
            measured = f"{peer[1] / own:.1f} x {peer[0]}"
            measured += f"; {exact[1] / own:.1f} x {exact[0]}, the fastest that is exact" if exact else "; no peer is exact"
            rows.append((asked, measured, _verdict(peer[1] / own >= 10)))
    shares = [(width, share) for width, share in row_share(facts) if width >= WIDE]
    for batch in (64, 1):
        limit, own = (median(facts, "mlp", batch, side) for side in ("row additions in C", OURS))
        if limit and own:
            asked = f"mlp, batch {batch}: 50 % of the row-addition limit"
            rows.append((asked, f"{100 * limit / own:.0f} %", _verdict(limit / own >= 0.5) if batch == 64 else "no bar"))
    for width, share in shares:
        asked = f"layers {width:.0f} wide, batch 64: 50 % of the row-addition limit"
        rows.append((asked, f"{100 * share:.0f} %", _verdict(share >= 0.5)))
    for batch, most, asked in (
        (64, 5.0, "mlp, batch 64: at most 5 x one ONNX Runtime float pass (aim 3 x)"),
        (1, 1.0, "mlp, batch 1: latency below ONNX Runtime's (an aim)"),
    ):
        dense, own = (median(facts, "mlp", batch, side) for side in ("ONNX Runtime float32", OURS))
        if dense and own:
            rows.append((asked, f"{own / dense:.1f} x", _verdict(own / dense <= most)))
        else:
            rows.append((asked, "-", "not measured"))
    series = facts.get("scaling", {}).get("synaptic operations", {})
    if fit := series.get("fit_over_synops"):
        measured = f"R2 {fit['r_squared']:.4f}, largest residual {100 * fit['largest_residual']:.0f} %"
        rows.append(("time grows linearly with synaptic operations", measured, "see the fit"))
    for workload in facts["workloads"]:
        single, own = (median(facts, workload, 64, side) for side in ("snnir, 1 thread", OURS))
        if single and own:
            asked = f"{workload}, batch 64: {facts['threads']} threads at least 1.7 x of 1"
            rows.append((asked, f"{single / own:.2f} x", _verdict(single / own >= 1.7)))
    single, own = (median(facts, "mlp", 64, side) for side in ("row additions in C, 1 thread", "row additions in C"))
    if single and own:
        asked = f"what {facts['threads']} threads give the C program (row additions, the same events)"
        rows.append((asked, f"{single / own:.2f} x of 1", "the machine"))
    rows += _few_spikes(facts)
    if start := facts.get("start_up"):
        rows.append(("first run in a fresh process under 2 s", f"{start['median']:.2f} s", _verdict(start["median"] < 2)))
    return rows


def _few_spikes(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Few-spike neurons against ST-BIF ones at 4 bits, against themselves at 8, and against a float pass."""
    rows = []
    for workload in facts["workloads"]:
        bif, four, eight = (median(facts, workload, 64, side) for side in (OURS, *FEW_SPIKES))
        if not (bif and four and eight):
            continue
        faster = f"{workload}, batch 64: few-spikes at least 2 x as fast as bif, 4 bits (aim 3 x)"
        rows.append((faster, f"{bif / four:.2f} x", _verdict(bif / four >= 2)))
        rows.append(
            (f"{workload}, batch 64: few-spikes, 8 bits at most 2 x 4 bits", f"{eight / four:.2f} x", _verdict(eight / four <= 2))
        )
    dense, four = (median(facts, "mlp", 64, side) for side in ("ONNX Runtime float32", FEW_SPIKES[0]))
    if dense and four:
        rows.append(
            ("mlp, batch 64: few-spikes below one ONNX Runtime float pass", f"{four / dense:.2f} x", _verdict(four < dense))
        )
    return rows


def _exact(facts: dict[str, Any]) -> tuple[str, str, str]:
    found = list(facts["workloads"].values())
    every = [*found, *(own for row in found for own in row.get("few_spikes", {}).values())]
    wrong = sum(row["integer_mismatches"] + row["output_mismatches"] for row in every)
    compared = sum(row["integers_verified"] + row["outputs"] for row in every)
    settled = all(row["settled"] and row["within_bounds"] for row in found)
    measured = f"{wrong} of {compared:,} integers and outputs differ; {'all' if settled else 'NOT all'} settled within bounds"
    return ("settled outputs equal the integer reference", measured, _verdict(wrong == 0 and settled))


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
