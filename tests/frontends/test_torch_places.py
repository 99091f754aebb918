"""Elements at known places, products, remainders, masks, ranks and bags of tokens: torch module == IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from tests.frontends.torch_modules import DYNAMIC, Function, check, same

PICK, OTHER, MASK = torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([True, False, True, False])
TWICE = torch.tensor([[0, 1, 1, 2]])

GRID, VOLUME = (
    torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 2.4 - 1.2 for shape in ((1, 3, 4, 2), (1, 2, 2, 3, 3))
)
THETA = torch.tensor([[[0.8, -0.3, 0.1], [0.4, 0.9, -0.2]]])


def resampled(x: torch.Tensor) -> Any:
    """Every mode, at places beyond the borders too."""
    grid = GRID.expand(x.shape[0], -1, -1, -1)
    modes = [(mode, padding) for mode in ("bilinear", "nearest", "bicubic") for padding in ("zeros", "border", "reflection")]
    moved = F.affine_grid(THETA.expand(x.shape[0], -1, -1), list(x.shape), align_corners=False)
    return (
        *(F.grid_sample(x, grid, *names, align_corners=names[1] == "border") for names in modes),
        F.grid_sample(x, moved, align_corners=False),
    )


def scattered(x: torch.Tensor) -> Any:
    """Scatters whose index is the same for each sample."""
    index, few = TWICE.expand(x.shape[0], 4), PICK[None].expand(x.shape[0], 2)
    y = 2 * x.flip(1)
    return (
        x.scatter(1, few, 2.0),
        x.scatter(1, few, y),
        x.scatter(1, few, 3.0, reduce="multiply"),
        x.scatter_add(1, index, y),
        *(x.scatter_reduce(1, index, y, reduction) for reduction in ("sum", "mean", "prod", "amax", "amin")),
        *(x.scatter_reduce(1, index, y, each, include_self=False) for each in ("sum", "mean", "prod", "amax", "amin")),
        torch.zeros_like(x).scatter(1, index, x[:, :1].expand(-1, 4)),
    )


def indexed(x: torch.Tensor) -> Any:
    """Rows added, written and filled in."""
    y = x.flip(1)
    return (
        x.index_add(1, torch.tensor([0, 0, 2]), y[:, :3], alpha=0.5),
        x.index_copy(1, OTHER, y[:, :2]),
        x.index_fill(1, OTHER, 0.5),
        torch.slice_scatter(x, y[:, :2], 1, 0, 4, 2),
    )


def set_items(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, OTHER] = 0.0
    y[:, PICK, OTHER] = x[:, 2:, 0]
    y[:, ::2] = x[:, :2]
    y[y < 0] = 0.25
    return y


CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "sampled": (resampled, [(2, 3, 5, 4)]),
    "sampled_volume": (
        lambda x: F.grid_sample(x, VOLUME.expand(x.shape[0], -1, -1, -1, -1), align_corners=True),
        [(2, 2, 3, 4, 3)],
    ),
    "affine_grid": (lambda x: F.affine_grid(x, [x.shape[0], 1, 3, 4], align_corners=False), [(2, 2, 3)]),
    "indices": (
        lambda x: (x[:, PICK, OTHER], x[:, PICK, :, OTHER], x[:, PICK[:, None], OTHER], x[:, MASK], x[:, -PICK - 1, ..., 1]),
        [(2, 4, 3, 3)],
    ),
    "diagonals": (lambda x: (x.diagonal(0, 1, 2), x.diagonal(-1, 2, 1), torch.diagonal(x, 1, 1, 2).sum(-1)), [(2, 4, 3)]),
    "scatters": (scattered, [(2, 4)]),
    "rows_written": (indexed, [(2, 4)]),
    "items_set": (set_items, [(2, 4, 3)]),
    "products": (lambda x: (x.prod(1), x.prod(2, keepdim=True), x.cumprod(1), x.flatten(1).prod(-1)), [(2, 3, 2)]),
    "remainders": (
        lambda x: (
            torch.fmod(x, -0.7),
            torch.remainder(x, torch.tensor([0.5, 0.25, -2, 1])),
            torch.fmod(x, x.flip(1)),
            x % (x.abs() + 0.5),
            x.div(0.7, rounding_mode="trunc"),
        ),
        [(2, 4)],
    ),
    "logic": (
        lambda x: (
            ((x > 0) ^ (x < 1)) * x
            + torch.logical_xor(x > 0, MASK)
            + (x > 0).any(1, keepdim=True) * 1
            + (x < 1).all(1, keepdim=True)
        ),
        [(2, 4)],
    ),
    "ranks": (lambda x: (*x.median(1), *x.median(2, keepdim=True), *x.kthvalue(2, 1)), [(2, 4, 5)]),
    "attention_shared": (lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), [(2, 4, 5, 4), (2, 2, 5, 4)]),
    "attention_masked": (
        lambda q, m: (F.scaled_dot_product_attention(q, q, q, m), F.scaled_dot_product_attention(q, q, q, attn_mask=m > 0)),
        [(2, 2, 5, 4), (2, 1, 5, 5)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_places(name: str) -> None:
    made, shapes = CASES[name]
    check(Function(made), *shapes)


TABLE = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
BAGS = torch.tensor([[1, 2, 0], [4, 3, 3]])


def test_bags_of_one_size() -> None:
    module = Function(
        lambda t: (
            F.embedding_bag(t, TABLE, mode="mean"),
            F.embedding_bag(t, TABLE, mode="sum", padding_idx=2),
            F.embedding_bag(t, TABLE, mode="max"),
        )
    ).eval()
    graph = snnir.import_model(module, example_inputs=BAGS)
    assert str(graph.inputs[0].type) == "Nx3:f32"
    same(module, graph, torch.randint(0, 5, (4, 3), generator=torch.Generator().manual_seed(1)), example=BAGS)


def test_weighted_bags_and_bags_at_offsets() -> None:
    module = Function(lambda t, w: F.embedding_bag(t, TABLE, mode="sum", per_sample_weights=w)).eval()
    example = (BAGS, torch.rand(2, 3))
    same(module, snnir.import_model(module, example_inputs=example), BAGS.flip(0), torch.rand(2, 3), example=example)
    starts, tokens = torch.tensor([0, 2, 4]), torch.tensor([1, 2, 0, 4, 3])
    module = Function(lambda t: [F.embedding_bag(t, TABLE, starts, mode=mode) for mode in ("sum", "mean", "max")]).eval()
    same(module, snnir.import_model(module, example_inputs=tokens), tokens.flip(0), example=tokens)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: F.embedding_bag(t, TABLE, mode="mean", padding_idx=2), "leaves out tokens"),
        (lambda t: F.embedding_bag(t.flatten(), TABLE, torch.tensor([0, 2])), "aten.embedding_bag.* in Function /"),
    ],
)
def test_bags_of_unknown_sizes_are_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        snnir.import_model(Function(function).eval(), example_inputs=BAGS, dynamic_shapes=(({0: DYNAMIC},),))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.masked_scatter(x > 0, x), "aten.masked_scatter.* writes at places that depend on the input"),
        (lambda x: torch.remainder(x, 0.0), "divides by 0"),
        (lambda x: x + torch.median(x), "aten.median.default in Function / .*give it an axis"),
        (lambda x: x.mode(1)[0], "aten.mode.default in Function / .*no counterpart"),
        (lambda x: torch.bernoulli(x.sigmoid()), "aten.bernoulli.default in Function / .*random"),
        (lambda x: x.repeat(1, 20).prod(1), "multiplies 80 elements; supported are 1 to 64"),
    ],
)
def test_what_no_op_computes_is_refused_by_name_and_reason(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        snnir.import_model(Function(function).eval(), example_inputs=torch.randn(2, 4))


class Bags(nn.Module):
    """Bags of tokens into a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(5, 6, mode="mean"), nn.Linear(6, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.table(tokens)))
        return logits


def test_bags_become_exact_spikes() -> None:
    tokens = torch.randint(0, 5, (32, 3), generator=torch.Generator().manual_seed(0))
    program = snnir.compile(Bags().eval(), example_inputs=tokens, calibration=tokens.numpy(), bits=4)
    assert program.verify(tokens[:8].numpy()).ok


def test_grids() -> None:
    """A grid for each sample of a fixed batch; one that changes with the input."""
    each = Function(lambda x: F.grid_sample(x, torch.cat([GRID, GRID / 2]), align_corners=False)).eval()
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    same(each, snnir.import_model(each, example_inputs=x), x)
    with pytest.raises(UnsupportedError, match=r"aten.grid_sampler.* the grid changes with the input; it must be constant"):
        snnir.import_model(
            Function(lambda x: F.grid_sample(x, x[:, :2].movedim(1, -1), align_corners=False)).eval(), example_inputs=x
        )
