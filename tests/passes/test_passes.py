"""Each pass keeps its promise, on graphs drawn at random and on small ones that show its rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import snnir
from snnir.compiler.optimize import draw_samples
from snnir.errors import CalibrationError, PassError, UnsupportedError, UsageError
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Bif,
    Clip,
    Conv,
    Diagonal,
    Gru,
    Linear,
    Lstm,
    MatMul,
    MaxPool,
    Mul,
    Product,
    Rbif,
    Recurrent,
    ReduceMean,
    Relu,
    Remainder,
    Reshape,
    Rnn,
    Scan,
    Sigmoid,
    Softmax,
    Sub,
    Tanh,
    Transpose,
)
from snnir.ir.verify import verify
from snnir.passes import (
    PASSES,
    Context,
    Pass,
    default_pipeline,
    format_pipeline,
    parse_pipeline,
    run_pipeline,
    simplify,
)
from snnir.passes.calibrate import METHODS, Calibrate, Histogram
from snnir.passes.canonicalize import Canonicalize
from snnir.passes.infra import Result
from snnir.passes.lower_recurrent import LowerRecurrent
from snnir.passes.remove_dead_code import remove_dead_code
from snnir.passes.substitute_operators import SubstituteOperators
from tests.random_graphs import random_graph
from tests.small_failures import on_smallest

N = dim("N")


class Draft:
    """A small float graph under construction, with one input x."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("draft")
        self.shape = shape
        self.x = self.graph.input("x", TensorType((N, *shape), "f32"))

    def constant(self, *shape: int, name: str = "c") -> Value:
        return self.graph.constant(name, self.rng.normal(size=shape).astype(np.float32))

    def batch_norm(self, x: Value, channels: int, name: str = "bn") -> Value:
        scale, bias, mean = (self.constant(channels) for _ in range(3))
        variance = self.graph.constant("variance", self.rng.uniform(0.5, 2, channels).astype(np.float32))
        return self.graph.add1(BatchNorm(), x, scale, bias, mean, variance, name=name)

    def done(self, value: Value) -> Graph:
        self.graph.output("y", value)
        verify(self.graph)
        return self.graph

    def data(self, count: int = 5) -> dict[str, np.ndarray]:
        return {"x": self.rng.normal(size=(count, *self.shape)).astype(np.float32)}


def op_names(graph: Graph) -> list[str]:
    return [node.op.name for _, node in graph.walk()]


def same(before: Graph, after: Graph, data: dict[str, np.ndarray]) -> None:
    verify(after)
    a, b = execute(before, data), execute(after, data)
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(a[name]).max(initial=0))))


@pytest.mark.parametrize("seed", range(60))
def test_exact_passes_keep_the_meaning_of_random_graphs(seed: int) -> None:
    drawn_graph, data = random_graph(seed)

    def check(graph: Graph) -> None:
        inputs = data if graph is drawn_graph else draw_samples(graph, 3)
        for pass_ in simplify():
            result = pass_.run(graph, Context())
            same(graph, result.graph, inputs)
            assert result.changed or result.graph == graph
            graph = result.graph
        again = Canonicalize().run(graph, Context())
        assert not again.changed, "canonicalising twice changes nothing more"

    on_smallest(drawn_graph, check)


def test_a_pipeline_is_written_and_read_back() -> None:
    text = format_pipeline(default_pipeline(bits=3, weight_bits=6, method="percentile"))
    assert format_pipeline(parse_pipeline(text)) == text
    assert "quantize-activations{bits=3}" in text
    assert parse_pipeline("calibrate{method=minmax percentile=99.5}") == (Calibrate("minmax", 99.5),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("fold-constant", "did you mean fold-constants"),
        ("calibrate{speed=3}", "options: method, percentile"),
        ("quantize-activations{bits=many}", "not of type int"),
        ("quantize-activations{bits=9}", "2 to 8 bits"),
        ("quantize-weights{bits=1}", "2 to 16 bits .bits of quantize-weights,"),
        ("calibrate{method=best}", "mse, percentile, minmax"),
        ("calibrate{percentile=20}", "out of range"),
        ("calibrate{", "expected"),
    ],
)
def test_a_wrong_pipeline_is_refused_with_the_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_pipeline(text)


def test_weights_out_of_range_name_their_option_wherever_it_is_given() -> None:
    for bits in (1, 17):
        for name in ("bits of quantize-weights", "weight_bits of snnir.compile", "--weight-bits"):
            with pytest.raises(UsageError, match=f"weights of {bits} bits are out of range: they take 2 to 16 bits .*{name}"):
                default_pipeline(weight_bits=bits)


def test_batch_norm_folds_before_and_after_the_activation() -> None:
    draft = Draft(4, 9)
    h = draft.graph.add1(Conv((1,), (1, 1), (1,)), draft.x, draft.constant(6, 4, 3))
    h = draft.batch_norm(draft.graph.add1(Relu(), draft.batch_norm(h, 6)), 6)
    graph = draft.done(draft.graph.add1(Conv((1,), (1, 1), (1,)), h, draft.constant(5, 6, 3), draft.constant(5)))
    folded = Canonicalize().run(graph, Context()).graph
    folded = remove_dead_code(folded)
    same(graph, folded, draft.data())
    assert op_names(folded) == ["conv", "clip", "conv", "add"], "the border of the zero padding needs a map of biases"


def test_batch_norm_sinks_through_pooling_reshape_and_into_a_scan() -> None:
    draft = Draft(4, 9)
    h = draft.graph.add1(Conv((1,), (1, 1), (1,)), draft.x, draft.constant(6, 4, 3))
    h = draft.graph.add1(Relu(), h)
    scale = draft.graph.constant("scale", np.abs(draft.rng.normal(size=6)).astype(np.float32))
    ones = draft.graph.constant("ones", np.ones(6, np.float32))
    h = draft.graph.add1(BatchNorm(), h, scale, ones, ones, ones)
    h = draft.graph.add1(Transpose((0, 2, 1)), draft.graph.add1(MaxPool((2,), (1,), (0, 1), (1,)), h))
    zero = draft.graph.constant("h0", np.zeros((1, 3), np.float32))
    weights = draft.constant(3, 6), draft.graph.constant("r", np.eye(3, dtype=np.float32)), draft.constant(3)
    _, last = draft.graph.add(Rnn("relu"), h, *weights, zero)
    graph = draft.done(last)
    after = graph
    for pass_ in simplify():
        after = pass_.run(after, Context()).graph
    same(graph, after, draft.data())
    assert op_names(after) == ["conv", "clip", "max_pool", "transpose", "scan", "linear", "mul", "add", "clip"]


def test_a_diagonal_recurrence_becomes_an_indrnn() -> None:
    draft = Draft(4, 3)
    zero = draft.graph.constant("h0", np.zeros((1, 3), np.float32))
    diagonal = draft.graph.constant("r", np.diag([0.5, -1.0, 2.0]).astype(np.float32))
    y, _ = draft.graph.add(Rnn("tanh", reverse=True), draft.x, draft.constant(3, 3), diagonal, draft.constant(3), zero)
    graph = draft.done(y)
    lowered = LowerRecurrent().run(graph, Context()).graph
    same(graph, lowered, draft.data())
    assert op_names(lowered) == ["scan", "linear", "mul", "add", "tanh"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "op", [Rnn("relu"), Gru(), Gru(("hard_sigmoid", "relu"), True), Lstm(), Lstm(("sigmoid", "relu", "tanh"), True)], ids=str
)
@pytest.mark.parametrize("peephole", [False, True])
def test_every_cell_is_lowered_to_ordinary_ops(op: Recurrent, reverse: bool, peephole: bool) -> None:
    draft = Draft(4, 3)
    rows = op.GATES * 5
    operands = [draft.constant(rows, 3), draft.constant(rows, 5), draft.constant(20 if isinstance(op, Gru) else rows)]
    if isinstance(op, Gru) and not op.reset_after:
        operands[2] = draft.graph.constant("b", np.append(operands[2].array[:15], np.zeros(5, np.float32)))
    operands += [draft.constant(1, 5) for _ in range(op.STATES)]
    if isinstance(op, Lstm) and peephole:
        operands.append(draft.constant(15))
    layer = dataclasses.replace(op, reverse=reverse)  # type: ignore[call-arg]
    results = draft.graph.add(layer, draft.x, *operands)
    for index, value in enumerate(results[1:]):
        draft.graph.output(f"state{index}", value)
    graph = draft.done(results[0])
    lowered = LowerRecurrent().run(graph, Context()).graph
    same(graph, lowered, draft.data())
    assert "scan" in op_names(lowered)
    assert op.name not in op_names(lowered)


def test_activations_go_before_the_movement_they_follow() -> None:
    draft = Draft(4, 6)
    h = draft.graph.add1(Conv(), draft.x, draft.constant(3, 4, 1))
    h = draft.graph.add1(Relu(), draft.graph.add1(Reshape((N, 18)), draft.graph.add1(MaxPool((2,), (1,), (1, 0), (1,)), h)))
    graph = draft.done(h)
    after = Canonicalize().run(graph, Context()).graph
    same(graph, after, draft.data())
    order = op_names(after)
    assert order.index("clip") < order.index("max_pool") < order.index("reshape")


def test_constants_merge_and_differences_become_sums() -> None:
    draft = Draft(5)
    h = draft.graph.add1(Sub(), draft.constant(5), draft.x)
    h = draft.graph.add1(Mul(), draft.graph.add1(Add(), h, draft.constant(5)), draft.constant(1))
    h = draft.graph.add1(Add(), draft.graph.add1(MatMul(), h, draft.constant(5, 2)), draft.constant(2))
    graph = draft.done(h)
    after = graph
    for pass_ in simplify():
        after = pass_.run(after, Context()).graph
    after = remove_dead_code(after)
    same(graph, after, draft.data())
    assert op_names(after) == ["linear"]


@pytest.mark.parametrize("padded", [False, True])
def test_averages_become_weighted_sums(padded: bool) -> None:
    draft = Draft(3, 8)
    pool = AveragePool((3,), (2,), (1, 1), (1,), False, padded)
    h = draft.graph.add1(ReduceMean((2,), False), draft.graph.add1(pool, draft.x))
    graph = draft.done(h)
    after = SubstituteOperators().run(graph, Context()).graph
    same(graph, after, draft.data())
    assert op_names(after) == ["conv" if padded else "sparse_linear", "conv", "reshape"]


def test_a_mean_over_an_unknown_length_is_refused_by_name() -> None:
    graph = Graph("mean")
    x = graph.input("x", TensorType((N, dim("T"), 3), "f32"))
    graph.output("y", graph.add1(ReduceMean((1,), False), x, origin=("ReduceMean pool",)))
    with pytest.raises(UnsupportedError, match="ReduceMean pool.*unknown length") as refused:
        SubstituteOperators().run(graph, Context())
    assert refused.value.refusals[0].sizes == {"N", "T"}


def test_a_product_of_two_changing_values_multiplies_levels_exactly() -> None:
    draft = Draft(4)
    h = draft.graph.add1(Sigmoid(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)))
    h = draft.graph.add1(Mul(), h, draft.graph.add1(Tanh(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4))))
    stages = run_pipeline(
        draft.done(draft.graph.add1(Linear(), h, draft.constant(2, 4))), default_pipeline(), Context(draft.data())
    )
    (product,) = (node for node in stages[-1].graph.nodes if isinstance(node.op, Product))
    left, right, result = (value.type.quantization for value in (*product.operands, product.output))
    assert left is not None
    assert right is not None
    assert result is not None
    assert result.scale == left.scale * right.scale
    assert (result.lo, result.hi) == (left.hi * right.lo, left.hi * right.hi)


def test_everything_without_spiking_form_is_refused_together() -> None:
    draft = Draft(4)
    h = draft.graph.add1(Relu(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)))
    h = draft.graph.add1(Remainder(), h, draft.graph.constant("m", np.array(0.75, np.float32)), origin=("Mod one",))
    h = draft.graph.add1(Relu(), draft.graph.add1(Linear(), h, draft.constant(4, 4)))
    h = draft.graph.add1(Remainder(), h, draft.graph.constant("m", np.array(0.5, np.float32)), origin=("Mod two",))
    graph = draft.done(draft.graph.add1(Relu(), draft.graph.add1(Linear(), h, draft.constant(4, 4))))
    with pytest.raises(UnsupportedError, match="(?s)Mod one.*Mod two"):
        run_pipeline(graph, default_pipeline(), Context(draft.data()))


def small_network(seed: int = 0) -> tuple[Graph, dict[str, np.ndarray]]:
    draft = Draft(4, 6, seed=seed)
    h = draft.graph.add1(Conv((1,), (1, 1), (1,)), draft.x, draft.constant(5, 4, 3), name="conv", origin=("Conv one",))
    h = draft.graph.add1(Relu(), h, name="relu", origin=("Relu two",))
    h = draft.graph.add1(Transpose((0, 2, 1)), h)
    zero = draft.graph.constant("h0", np.zeros((1, 3), np.float32))
    y, last = draft.graph.add(
        Rnn("tanh"), h, draft.constant(3, 5), draft.constant(3, 3), draft.constant(3), zero, names=("y", "last")
    )
    h = draft.graph.add1(Linear(), last, draft.constant(2, 3), draft.constant(2), name="fc")
    return draft.done(draft.graph.add1(Softmax(1), h, name="p")), draft.data(20)


def test_the_default_pipeline_reaches_neurons_and_keeps_origins() -> None:
    graph, data = small_network()
    stages = run_pipeline(graph, default_pipeline(), Context(data))
    spiking = stages[-1].graph
    populations = {node.output.name: node for _, node in spiking.walk() if isinstance(node.op, Bif)}
    assert isinstance(populations["relu"].op, Bif) and not isinstance(populations["relu"].op, Rbif)
    assert populations["relu"].origin == ("Relu two",)
    assert any(isinstance(node.op, Rbif) and node.op.staircase for node in populations.values())
    assert spiking.nodes[-1].op.host
    lossy = {stage.pass_.name for stage in stages if stage.pass_.error}
    assert lossy <= {"quantize-activations", "adapt-weights", "quantize-weights"}
    assert lossy >= {"quantize-activations", "quantize-weights"}
    assert all(any("move by" in remark for remark in stage.remarks) for stage in stages if stage.pass_.error and stage.changed)


def test_residual_connections_become_one_to_one_synapses() -> None:
    draft = Draft(4)
    h = draft.graph.add1(Relu(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)))
    h = draft.graph.add1(Relu(), draft.graph.add1(Add(), draft.graph.add1(Linear(), h, draft.constant(4, 4)), h), name="out")
    stages = run_pipeline(draft.done(h), default_pipeline(), Context(draft.data()))
    assert any(isinstance(node.op, Diagonal) for node in stages[-1].graph.nodes)
    out = next(node for node in stages[-1].graph.nodes if isinstance(node.op, Bif) and node.output.name == "out")
    assert len(out.operands) == 4, "theta, bias and two currents"


def test_levels_keep_thresholds_of_their_own_where_weights_are_coarse() -> None:
    draft = Draft(4)
    h = draft.graph.add1(Relu(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)), name="r", origin=("Relu r",))
    weight = draft.graph.constant("wide", np.array([[100, -99, 0.5, 0.1]] * 4, np.float32))
    h = draft.graph.add1(Relu(), draft.graph.add1(Linear(), h, weight), name="out", origin=("Relu out",))
    program = snnir.compile(draft.done(h), calibration=draft.data()["x"] * 0.01, weight_bits=2)
    populations = [node for _, node in program.graph().walk() if isinstance(node.op, Bif)]
    assert not any(node.op.staircase for node in populations if isinstance(node.op, Bif))
    assert min(int(node.operands[0].array.min()) for node in populations) >= 16
    assert program.verify(draft.data()["x"]).ok


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_calibration_covers_the_data_and_more_bits_err_less(method: str, low: float) -> None:
    rng = np.random.default_rng(3)
    values = np.clip(rng.normal(size=20000), low, None)
    histogram = Histogram(min(float(values.min()), 0.0), float(values.max()))
    histogram.add(values)
    errors = []
    for bits in range(2, 9):
        levels = Calibrate(method, 99.99).levels(histogram, bits)
        assert levels.hi - levels.lo + 1 == 2**bits
        assert (levels.lo < 0) == (low < 0)
        rounded = levels.round(values) * levels.scale
        errors.append(float(((rounded - values) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    if method == "mse":
        widest = Calibrate("minmax").levels(histogram, 2)
        bounded = widest.round(values) * widest.scale
        assert errors[0] <= ((bounded - values) ** 2).mean() + 1e-6


def test_levels_start_where_the_data_do() -> None:
    """From -0.2 to 3 there is one level below 0, or two, and not half of all."""
    values = np.concatenate([np.linspace(-0.2, 0, 2000), np.linspace(0, 3, 2000)])
    histogram = Histogram(-0.2, 3.0)
    histogram.add(values)
    for method in METHODS:
        levels = Calibrate(method).levels(histogram, 4)
        assert -2 <= levels.lo <= -1
        assert levels.hi == levels.lo + 15


def test_calibration_without_data_is_refused() -> None:
    graph, _ = small_network()
    with pytest.raises(CalibrationError, match="needs calibration data"):
        run_pipeline(graph, default_pipeline(), Context())


def test_all_zero_data_still_compiles() -> None:
    graph, data = small_network()
    stages = run_pipeline(graph, default_pipeline(), Context({"x": np.zeros_like(data["x"])}))
    assert stages[-1].graph.level == "spiking"


def test_values_that_meet_share_a_scale() -> None:
    from snnir.ir.ops import Concat

    draft = Draft(4)
    a = draft.graph.add1(Relu(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)))
    b = draft.graph.add1(Tanh(), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)))
    h = draft.graph.add1(Linear(), draft.graph.add1(Concat(1), a, b, draft.x), draft.constant(2, 12))
    stages = run_pipeline(draft.done(h), default_pipeline(), Context(draft.data()))
    scales = {value.type.quantization.scale for value in stages[-1].graph.values.values() if value.type.quantization is not None}
    assert len(scales) == 1


def test_clips_bound_the_levels() -> None:
    draft = Draft(4)
    h = draft.graph.add1(Clip(0.0, 1.0), draft.graph.add1(Linear(), draft.x, draft.constant(4, 4)), name="six")
    stages = run_pipeline(draft.done(h), default_pipeline(), Context({"x": 10 * draft.data()["x"]}))
    quantization = stages[-1].graph.values["six"].type.quantization
    assert quantization is not None
    assert quantization.lo == 0 and quantization.hi * quantization.scale == pytest.approx(1.0, abs=quantization.scale)


@dataclasses.dataclass(frozen=True)
class Broken(Pass):
    """A pass that claims to be exact and is not."""

    name = "broken"
    takes = gives = "float"

    def run(self, graph: Graph, context: Context) -> Result:
        new = Graph(graph.name)
        x = new.input("x", graph.inputs[0].type)
        new.output("y", new.add1(Relu(), x))
        return Result(new, True)


def test_a_pass_that_breaks_its_promise_is_named_and_leaves_a_reproducer(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "ir"
    draft = Draft(3)
    graph = draft.done(draft.graph.add1(Tanh(), draft.x))
    with pytest.raises(PassError, match="pass broken: moved an output") as failure:
        run_pipeline(graph, (Broken(), *default_pipeline()), Context(draft.data()), dump=folder)
    assert str(folder / "reproducer") in str(failure.value)
    assert (folder / "reproducer" / "graph.ir").exists()
    rest = (folder / "reproducer" / "pipeline.txt").read_text(encoding="utf-8")
    assert rest.startswith("broken,fold-constants")
    assert (folder / "00_import.ir").exists()


def test_a_pass_of_the_wrong_level_is_refused() -> None:
    graph, data = small_network()
    with pytest.raises(UsageError, match="takes a graph of the quantized level"):
        run_pipeline(graph, parse_pipeline("substitute-neurons"), Context(data))


def test_every_pass_is_documented_and_declared() -> None:
    for name, pass_ in PASSES.items():
        assert pass_.name == name and pass_.summary().endswith("."), name
        levels = ("float", "quantized", "spiking", "any")
        assert pass_.takes in levels and pass_.gives in levels


def test_scans_inside_scans_are_refused() -> None:
    draft = Draft(3, 2)
    inner = Graph("inner")
    e = inner.input("e", TensorType((N,), "f32"))
    inner.output("o", inner.add1(Relu(), e))
    body = Graph("body")
    row = body.input("row", TensorType((N, 2), "f32"))
    (z,) = body.add(Scan(0, 1, 1), row, body=inner, origin=("Scan inner",))
    body.output("z", z)
    (y,) = draft.graph.add(Scan(0, 1, 1), draft.x, body=body, origin=("Scan outer",))
    with pytest.raises(UnsupportedError, match="Scan inner.*recurrence inside a recurrence"):
        run_pipeline(draft.done(y), default_pipeline(), Context(draft.data()))
