"""Minus infinity hides elements from a softmax, on the host; questions for infinities are answered where nothing gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import InputError, UnsupportedError
from snnir.ir.execute import execute
from tests.frontends.torch_modules import Function, check, data, randomised, same

FAR = float("-inf")
KEEP = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
ADDED = torch.zeros(5, 5).masked_fill(~KEEP, FAR) + 0.25 * KEEP


def attended(x: torch.Tensor, mask: torch.Tensor | None = None, causal: bool = False) -> torch.Tensor:
    return F.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=causal)


ROWS = KEEP | torch.eye(5).bool()
"""Some element of each row is seen."""

CASES: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "attention": (
        lambda x: (attended(x, causal=True), attended(x, KEEP), attended(x, ADDED), attended(x, KEEP | True)),
        (2, 2, 5, 4),
    ),
    "attention_of_the_input": (
        lambda x: (
            attended(x, (x[:, :1, :, :1] > -0.5).transpose(-1, -2)),
            attended(x, torch.zeros_like(x[:, :1, :1]).masked_fill(x[:, :1, :1] > 0, FAR)),
        ),
        (2, 2, 4, 4),
    ),
    "known": (
        lambda x: ((x + ADDED)[:, :3].softmax(-1), x.masked_fill(~ROWS, FAR).softmax(-1), torch.where(ROWS, x, FAR).softmax(-1)),
        (2, 5, 5),
    ),
    "of_the_input": (
        lambda x: (x.masked_fill(x < -2, FAR).softmax(-1), torch.where(x > -2, x, -torch.inf).softmax(-1)),
        (2, 5, 5),
    ),
    "guards": (
        lambda x: (
            torch.where(torch.isnan(x.softmax(1)), 0.0, x.softmax(1)) * torch.isfinite(x),
            torch.where(torch.isinf(x) | (x > 0), x, -x),
            x.masked_fill(torch.isneginf(x), 2.0),
        ),
        (2, 5),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_masks(name: str) -> None:
    function, shape = CASES[name]
    check(Function(function), shape)


def test_padding_of_tokens_is_a_mask() -> None:
    """Integers are compared for it."""
    module = Function(lambda x, tokens: x.masked_fill((tokens == 0)[:, None], FAR).softmax(-1)).eval()
    (x,), tokens = data((2, 3, 4)), torch.tensor([[1, 0, 2, 3], [0, 0, 1, 1]])
    same(module, snnir.import_model(module, example_inputs=(x, tokens)), x, tokens)
    attention = Function(lambda x, tokens: attended(x, (tokens != 0)[:, None])).eval()
    (x,) = data((2, 4, 3))
    same(attention, snnir.import_model(attention, example_inputs=(x, tokens)), x, tokens)


def test_hidden_elements_count_for_nothing_in_a_spiking_network() -> None:
    first, head = nn.Linear(4, 4), nn.Linear(4, 2)
    module = Function(lambda x: head(attended(torch.relu(first(x)), causal=True)), first, head)
    (x,) = data((24, 5, 4))
    program = snnir.compile(randomised(module), calibration=x.numpy(), bits=4)
    assert program.verify(x[:6].numpy()).ok
    later = x[:6].clone()
    later[:, 3:] += 1
    before, after = (program.run(each.numpy()).outputs["output"] for each in (x[:6], later))
    assert (before[:, :3] == after[:, :3]).all() and (before[:, 3:] != after[:, 3:]).any()


def test_what_may_give_infinities_is_not_asked() -> None:
    with pytest.raises(UnsupportedError, match=r"aten.isnan.* may give infinities or NaN.*guard it instead"):
        snnir.import_model(Function(lambda x: torch.isnan((2 * x).log())).eval(), example_inputs=torch.ones(2, 3))


@pytest.mark.parametrize("known", [True, False])
def test_what_masks_hide_is_minus_infinity(known: bool) -> None:
    below = torch.ones(4, 4, dtype=torch.bool).tril(-1)

    def answers(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = x.masked_fill(~below if known else ~below | (y > 0), -torch.inf)
        most = hidden.amax(-1, keepdim=True)
        asked = (torch.isneginf(most), torch.isinf(hidden), torch.isfinite(hidden), torch.isnan(hidden), torch.isposinf(most))
        return (*(torch.where(each, 1.0, y) for each in asked), x)

    x, y = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    y[0, 1] = y[0, 1].abs()
    graph = snnir.import_model(Function(answers).eval(), example_inputs=(x, y))
    same(Function(answers), graph, x, y)


QUESTIONS = (torch.isnan, torch.isinf, torch.isposinf, torch.isneginf, torch.isfinite)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_host_answers_for_its_own_inputs(question: Callable[..., torch.Tensor]) -> None:
    module = Function(lambda x: (question(x), question(x[:, 1:].reciprocal()))).eval()
    wrong = torch.tensor([[1.0, torch.nan, 0.0, torch.inf], [-torch.inf, -2.0, torch.nan, torch.inf]])
    graph = snnir.import_model(module, example_inputs=torch.ones(2, 4))
    with np.errstate(divide="ignore"):
        found = execute(graph, {graph.inputs[0].name: wrong.numpy()})
    for ours, theirs in zip(found.values(), module(wrong), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    beside = Function(lambda x, y: (question(x) * 1.0, torch.relu(y))).eval()
    graph = snnir.import_model(beside, example_inputs=(torch.ones(2, 4), torch.ones(2, 4)))
    same(beside, graph, wrong, torch.ones(2, 4))
    with pytest.raises(InputError, match="holds 5 NaN or infinite values, and"):
        execute(graph, dict(zip((value.name for value in graph.inputs), (wrong.numpy(), wrong.numpy()), strict=True)))
