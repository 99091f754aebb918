"""What an op's traits claim holds of its examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnir.ir import OPS, SPIKING, Op, Quantization, TensorType
from snnir.ir.execute import real
from snnir.ir.op import Example, Trait
from snnir.ir.ops.activation import PRelu
from snnir.machine.lowering.context import RULES

EXAMPLES = [(name, example) for name, op in sorted(OPS.items()) for example in op.examples()]


def having(trait: Trait) -> list[Any]:
    found = [
        pytest.param(example, id=f"{name}-{index}") for index, (name, example) in enumerate(EXAMPLES) if example.op.has(trait)
    ]
    assert found, f"no example has {trait.name}"
    return found


def computed(example: Example, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    if not example.op.stored(example.types):
        arrays = tuple(real(array, type_) for array, type_ in zip(arrays, example.types, strict=True))
    with np.errstate(all="ignore"):
        return example.op.evaluate(*arrays)


def uniform(example: Example) -> bool:
    """Whether the function is the same for all elements; attributes may differ along the last axes of a sample."""
    return not isinstance(example.op, PRelu) or len(example.op.slopes) == 1


@pytest.mark.parametrize("example", [each for each in having(Trait.ELEMENTWISE) if uniform(each.values[0])])
def test_elementwise_results_depend_on_one_element(example: Example) -> None:
    (x,) = example.arrays
    (y,) = computed(example, (x,))
    assert y.shape == x.shape
    order = np.random.default_rng(0).permutation(x.size)
    (shuffled,) = computed(example, (np.ascontiguousarray(x.reshape(-1)[order].reshape(x.shape)),))
    np.testing.assert_array_equal(shuffled.reshape(-1), y.reshape(-1)[order])


@pytest.mark.parametrize("example", [each for each in having(Trait.MONOTONE) if uniform(each.values[0])])
def test_monotone_functions_do_not_decrease(example: Example) -> None:
    x = np.sort(np.random.default_rng(0).normal(0, 4, 500).astype(example.arrays[0].dtype))
    (y,) = computed(example, (x,))
    inside = y[np.isfinite(y)].astype(np.float64)  # a logarithm ends where its domain does
    assert inside.size and (np.diff(inside) >= -1e-6).all()


@pytest.mark.parametrize("example", having(Trait.BROADCASTING))
def test_broadcasting_spreads_operands_to_one_shape(example: Example) -> None:
    (y, *_) = computed(example, example.arrays)
    assert y.shape == np.broadcast_shapes(*(array.shape for array in example.arrays))
    if getattr(example.op, "gain", ()):  # one for each channel of the constant as it is
        return
    wide = tuple(np.ascontiguousarray(np.broadcast_to(array, y.shape)) for array in example.arrays)
    np.testing.assert_allclose(computed(example, wide)[0], y, rtol=1e-6)


@pytest.mark.parametrize("example", having(Trait.ALONG_AXIS))
def test_lines_along_the_axis_are_computed_by_themselves(example: Example) -> None:
    x = example.arrays[0]
    axis = int(vars(example.op)["axis"]) % x.ndim
    results = computed(example, example.arrays)
    for other in range(x.ndim):
        if other != axis:
            flipped = computed(example, (np.ascontiguousarray(np.flip(x, other)), *example.arrays[1:]))
            for array, result in zip(flipped, results, strict=True):
                at = other if array.ndim == x.ndim or other < axis else other - 1
                np.testing.assert_allclose(np.flip(array, at), result, rtol=1e-6)


@pytest.mark.parametrize("example", [*having(Trait.PER_SAMPLE), *having(Trait.CHANNELS)])
def test_samples_are_computed_by_themselves(example: Example) -> None:
    x, *rest = example.arrays
    results = computed(example, example.arrays)
    twice = computed(example, (np.concatenate([x, x[:1]]), *rest))
    for result, array in zip(results, twice, strict=True):
        np.testing.assert_array_equal(array[:-1], result)
        np.testing.assert_array_equal(array[-1], result[0])


@pytest.mark.parametrize("example", having(Trait.AFFINE))
def test_affine_ops_are_affine_in_the_first_operand(example: Example) -> None:
    x, *rest = example.arrays
    if x.dtype.kind != "f":
        pytest.skip("integers of a stored example")
    (a,), (b,), (c,) = (computed(example, (factor * x, *rest)) for factor in (np.float32(0), np.float32(1), np.float32(2)))
    np.testing.assert_allclose(c - b, b - a, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("example", having(Trait.FINITE))
def test_finite_operands_give_finite_results(example: Example) -> None:
    arrays = tuple(np.where(np.isfinite(array), array, 0) if array.dtype.kind == "f" else array for array in example.arrays)
    for result in computed(example, arrays):
        assert result.dtype.kind != "f" or np.isfinite(result).all()


@pytest.mark.parametrize("example", having(Trait.SELECTS))
def test_selected_elements_are_those_of_operands(example: Example) -> None:
    known = {element for array in example.arrays for element in array.reshape(-1).tolist()} | {0}
    twice = example.op.evaluate(*(array + array if array.dtype.kind in "iuf" else array for array in example.arrays))
    for result, doubled in zip(example.op.evaluate(*example.arrays), twice, strict=True):
        assert set(result.reshape(-1).tolist()) <= known
        if result.dtype.kind in "iuf":
            np.testing.assert_array_equal(doubled, result + result)


@pytest.mark.parametrize("example", having(Trait.OF_LEVELS))
def test_levels_give_levels(example: Example) -> None:
    types = [TensorType(type_.shape, "int", type_.quantization or Quantization(0.5, -3, 3)) for type_ in example.types]
    assert all(result.is_levels for result in example.op.infer(*types))


def test_what_emits_has_a_rule_of_the_machine_level() -> None:
    emitting = {op for op in OPS.values() if Trait.EMITS in op.traits}
    assert {"encode", "bif", "fs", "product", "max_pool", "function"} <= {op.name for op in emitting}
    for op in emitting:
        assert SPIKING in op.levels and any(base in RULES for base in op.__mro__), op.name


def test_every_trait_is_some_ops() -> None:
    held = {trait for op in OPS.values() for trait in op.traits}
    assert held == set(Trait)
    assert all(isinstance(op.traits, frozenset) for op in OPS.values()) and not Op.traits
