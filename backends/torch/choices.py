"""Meanings of the ops by which the host chooses: rows of a table, the largest element, the largest few."""

from __future__ import annotations

import torch

from snnir.backends.torch.registry import meaning
from snnir.ir import ops

__all__: list[str] = []


@meaning(ops.Lookup)
def _lookup(op: ops.Lookup, table: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor]:
    return (table[torch.round(index).long()],)


@meaning(ops.Find)
def _find(op: ops.Find, x: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor]:
    places = torch.arange(1, len(keys) + 1, device=x.device)
    last = ((x.unsqueeze(-1) == keys) * places).amax(-1) if len(keys) else torch.zeros_like(x, dtype=torch.int64)
    return (torch.where(last == 0, len(keys), last - 1),)


@meaning(ops.Hardmax)
def _hardmax(op: ops.Hardmax, x: torch.Tensor) -> tuple[torch.Tensor]:
    return (torch.zeros_like(x).scatter(op.axis, x.argmax(op.axis, keepdim=True), 1),)


@meaning(ops.TopK)
def _top_k(op: ops.TopK, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # a stable sort, because of equal elements the first counts, which torch.topk does not promise
    values, places = torch.sort(x, dim=op.axis, descending=op.largest, stable=True)
    return values.narrow(op.axis, 0, op.count), places.narrow(op.axis, 0, op.count)


@meaning(ops.MaxPoolPlaces)
def _max_pool_places(op: ops.MaxPoolPlaces, x: torch.Tensor) -> tuple[torch.Tensor]:
    (places,) = op.evaluate(x.detach().cpu().numpy())
    return (torch.from_numpy(places).to(x.device),)


@meaning(ops.NonMaxSuppression)
def _non_max_suppression(op: ops.NonMaxSuppression, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor]:
    # one box after another, and no gradient: as the IR says it
    (kept,) = op.evaluate(boxes.detach().cpu().numpy(), scores.detach().cpu().numpy())
    return (torch.from_numpy(kept).to(boxes.device),)


def _order(op: ops.Ranking, x: torch.Tensor) -> torch.Tensor:
    """The places of the largest (or least) elements, in order, int64."""
    line = x.flip(op.axis) if op.last else x
    order = torch.sort(line, dim=op.axis, descending=op.largest, stable=True)[1].narrow(op.axis, 0, op.count)
    return x.shape[op.axis] - 1 - order if op.last else order


@meaning(ops.TopPlaces)
def _top_places(op: ops.TopPlaces, x: torch.Tensor) -> tuple[torch.Tensor]:
    return (_order(op, x).to(x.dtype),)


@meaning(ops.TopValues)
def _top_values(op: ops.TopValues, x: torch.Tensor) -> tuple[torch.Tensor]:
    return (x.gather(op.axis % x.dim(), _order(op, x)),)


@meaning(ops.TakeAlong)
def _take_along(op: ops.TakeAlong, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor]:
    places = torch.round(index).long() if index.is_floating_point() else index.long()
    places = torch.where(places < 0, places + x.shape[op.axis], places)
    return (torch.take_along_dim(x, places, op.axis),)
