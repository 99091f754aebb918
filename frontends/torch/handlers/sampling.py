"""Sampling at known places (`snnir.ir.lowering.sampling`); the weights are asked of PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.ir import Value
from snnir.ir.lowering.sampling import grid_of, sampled

__all__: list[str] = []


@handler("aten.grid_sampler", "sparse_linear", "reshape")
@handler("aten.grid_sampler_2d", "sparse_linear", "reshape")
@handler("aten.grid_sampler_3d", "sparse_linear", "reshape")
def grid_sampler(call: Call) -> Value:
    """A known grid: each result is a sum with known weights, in every mode."""
    x, given = call.value("input"), call.given("grid")
    grid = given.array if isinstance(given, Spread) else given
    if not isinstance(grid, torch.Tensor) or (isinstance(given, Spread) and given.shape[1:] != tuple(grid.shape[1:])):
        raise RefusalError("the grid changes with the input; it must be constant")
    grid = grid.detach().cpu()
    kind, modes = grid.dtype, [call.given(name) for name in ("interpolation_mode", "padding_mode", "align_corners")]

    def respond(images: np.ndarray, one: np.ndarray) -> np.ndarray:
        found: torch.Tensor = torch.ops.aten.grid_sampler(torch.from_numpy(images).to(kind), torch.from_numpy(one), *modes)
        array: np.ndarray = found.double().numpy()
        return array

    return sampled(call, x, grid.numpy(), respond)


@handler("aten.affine_grid_generator", "linear", "reshape")
def affine_grid_generator(call: Call) -> Entry:
    """A known size: the grid is a linear map of the matrices."""
    given, size = call.given("theta"), call.sizes("size")
    places = list(call.static(tuple(size[2:]), "an affine grid"))

    def grids(theta: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.aten.affine_grid_generator(theta, [len(theta), 1, *places], call.flag("align_corners"))
        return found

    if isinstance(given, Value):
        return grid_of(call, given, int(np.prod(places)), lambda known: grids(torch.from_numpy(known)).double().numpy())
    known = grids((given.array if isinstance(given, Spread) else given).detach().cpu())
    return Spread(known, (size[0], *known.shape[1:])) if isinstance(given, Spread) else known
