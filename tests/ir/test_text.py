"""The text form reads back to an equal graph at every level, and says by line what is wrong with a text."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.errors import TextError
from snnir.ir import LEVELS, Graph, Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Clip, Concat, Linear, Quantize, Relu, Rnn, Scan
from snnir.ir.parse import parse
from snnir.ir.text import INLINE, tensors, text
from snnir.passes import Context, default_pipeline, run_pipeline
from tests.random_graphs import random_graph
from tests.small_failures import on_smallest

N = dim("N")
NAMES = [
    "plain",
    "a b",
    "a=b",
    "#",
    'quo"te',
    "back\\slash",
    "ünï",
    "日本",
    "\u2028",
    "\n",
    "\t",
    "",
    " ",
    "-",
    "1",
    "yield",
    "}",
    "{",
]
NAMES += ["const", "graph", "a,b", "x:0", "/rnn/RNN.out", "=", "digest=1", "\x00", "\ud83d", "'", "a.1", "a"]


def reads_back(graph: Graph) -> Graph:
    source = text(graph)
    again = parse(source, tensors(graph))
    assert again == graph
    assert text(again) == source
    return again


@pytest.mark.parametrize("seed", range(100))
def test_random_graphs_read_back_at_every_level(seed: int) -> None:
    graph, data = random_graph(seed)
    on_smallest(graph, lambda each: (reads_back(each), None)[1])
    seen = {}
    for stage in run_pipeline(graph, default_pipeline(3 + seed % 3, 10), Context(data), check=False):
        seen[stage.graph.level] = reads_back(stage.graph)
    assert set(seen) == set(LEVELS)
    for name, array in execute(seen["spiking"], data).items():
        np.testing.assert_array_equal(array, execute(stage.graph, data)[name])


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind(name: str) -> None:
    graph = Graph(name)
    graph.notes += [name, f"two\nlines of {name}"]
    x = graph.input(name, TensorType((N, 2), "f32"))
    weight = graph.constant(name, np.eye(2, dtype=np.float32))
    (y,) = graph.add(Linear(), x, weight, names=(name,), origin=(name, f"Gemm {name}, again"))
    graph.output(name, y)
    graph.output(f"{name} too", x)
    again = reads_back(graph)
    assert list(again.outputs) == [name, f"{name} too"]
    assert again.notes == graph.notes


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_in_a_scan(name: str) -> None:
    x = TensorType((N, 3, 2), "f32")
    graph, body = Graph("outer"), Graph(name)
    source = graph.input(name, x)
    start = graph.constant("start", np.zeros(2, np.float32))
    shared = graph.constant("shared", np.ones(2, np.float32))
    state, element = body.input("s", TensorType((N, 2), "f32")), body.input(name, TensorType((N, 2), "f32"))
    offset = body.input("offset", TensorType((2,), "f32"))
    total = body.add1(Add(), body.add1(Add(), state, element, name=name), offset, name=name)
    body.output(name, total)
    body.output(f"{name}2", total)
    results = graph.add(Scan(1, 1, 1, True), start, source, shared, names=(f"{name}1", f"{name}2"), origin=(name,), body=body)
    for value in results:
        graph.output(value.name, value)
    reads_back(graph)


SPECIAL = [0.1, 1e-45, -0.0, 3.4e38, 1 / 3, 16777217.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (INLINE,), (INLINE + 1,), (0, 5), (2, 3), (3, 4)])
def test_constants_keep_their_bits(dtype: type, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    kind = np.dtype(dtype).kind
    values = np.resize(np.array(SPECIAL if kind == "f" else [1, 0, -7, 127, -128]), size)
    array: np.ndarray = values.astype(dtype).reshape(shape)
    graph = Graph("constants")
    graph.output("c", graph.constant("c", array))
    again = reads_back(graph).constants[0].array
    assert again.dtype == array.dtype and again.shape == array.shape and again.tobytes() == array.tobytes()
    assert bool(tensors(graph)) == (size > INLINE)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (3, 4)])
def test_constants_of_words_stand_in_the_text(shape: tuple[int, ...]) -> None:
    words = ["", "setosa", "two words", "a;b", "'quoted'", '"', "#", "50 %", "größer", "日本", "\n", "[x]", "0"]
    graph = Graph("words")
    graph.output("w", graph.constant("w", np.resize(np.array(words, "<U40"), shape)))
    again = reads_back(graph).constants[0].array
    assert again.shape == shape and again.tolist() == graph.constants[0].array.tolist()
    assert not tensors(graph)


def test_attributes_of_every_kind() -> None:
    graph = Graph("attributes", after="canonicalize")
    x = graph.input("x", TensorType((N, dim("T") * 2 - 1, 3), "f32"))
    graph.add(Clip(low=-1e-7), x)
    graph.add(Clip(), x)
    graph.add(Quantize(Quantization(1e-12, -3, 9)), x)
    operands = [graph.constant("c", np.zeros(size, np.float32)) for size in ((2, 3), (2, 2), (2,), (2,))]
    graph.add(Rnn("relu", True), x, *operands, names=("a", "b"))
    assert reads_back(graph).after == "canonicalize"


GOOD = """graph small level=float  # 2 nodes, 6 parameters
  input x                    Nx3:f32
  const w                    2x3:f32   = [1.0;2.0;3.0;4.0;5.0;6.0]
  y = linear x w             Nx2:f32   # Gemm /fc
  z = clip y low=0.0 high=6.0  Nx2:f32
  output z = z
"""
SCAN = """graph small level=float
  input x  Nx4x3:f32
  const h0  3:f32  = [0.0;0.0;0.0]
  last = scan body axis=1 {
    state h = h0  Nx3:f32
    element e = x  Nx3:f32
    s = add h e  Nx3:f32
    yield s = s
  }  Nx3:f32
  output last = last
"""


def test_the_good_texts_are_good() -> None:
    assert [node.op.name for node in parse(GOOD).nodes] == ["linear", "clip"]
    assert parse(GOOD).nodes[0].origin == ("Gemm /fc",)
    (scan,) = parse(SCAN).nodes
    assert scan.body is not None and len(scan.body.nodes) == 1
    assert parse("\n\n# a comment\n" + GOOD.replace("\n", "\n\n")) == parse(GOOD)


@pytest.mark.parametrize(
    ("source", "old", "new", "line", "message"),
    [
        (GOOD, "linear", "lineer", 4, "unknown op 'lineer'; did you mean linear?"),
        (GOOD, "linear x w", "linear q w", 4, "no value 'q' is defined above"),
        (GOOD, "clip y", "clip yy", 5, "did you mean y?"),
        (GOOD, "linear x w             Nx2", "linear x w             Nx3", 4, "is written as Nx3:f32, but is Nx2:f32"),
        (GOOD, "Nx3:f32", "Nx4:f32", 4, "linear needs"),
        (GOOD, "linear x w", "linear x", 4, "takes 2 to 3 operands"),
        (GOOD, "clip y low=0.0", "clip y down=0.0", 5, "has no attribute 'down=0.0'; it has: low, high"),
        (GOOD, "low=0.0", "low=cold", 5, "not of type float"),
        (GOOD, "low=0.0", "low=9.0", 5, "holds no number"),
        (GOOD, "low=0.0 high=6.0  Nx2:f32", "low=0.0 high=6.0", 5, "is not a type"),
        (GOOD, "Nx3:f32", "Nx3:f33", 2, "is not a type"),
        (GOOD, "input x ", "input 1x", 2, "is not a name; quote it"),
        (GOOD, "input x ", "input  ", 2, "expected note, input, const, output"),
        (GOOD, "6.0]", "6.0;7.0]", 3, "is not 2x3:f32"),
        (GOOD, "6.0]", "six]", 3, "is not 2x3:f32"),
        (GOOD, "2x3:f32", "Nx3:f32", 3, "a constant has a fixed shape"),
        (GOOD, "= [1.0;2.0;3.0;4.0;5.0;6.0]", "digest=0123", 3, "(digest 0123) is missing"),
        (GOOD, "= [1.0;2.0;3.0;4.0;5.0;6.0]", "", 3, "expected `const NAME TYPE"),
        (GOOD, "const w", "const x", 3, "'x' is defined twice"),
        (GOOD, "z = clip", "y = clip", 5, "'y' is defined twice"),
        (GOOD, "z = clip", "z, q = clip", 5, "is not a type"),
        (GOOD, "output z = z", "output z = q", 6, "no value 'q'"),
        (GOOD, "output z = z", "output z = z\n  output z = y", 7, "two outputs called 'z'"),
        (GOOD, "output z = z", "output z = z }", 6, ""),
        (GOOD, "  output z = z", "  input z  Nx3:f32", 6, "two values called 'z'"),
        (GOOD, "level=float", "level=analog", 1, "expected level=float|quantized|spiking"),
        (GOOD, "level=float", "level=float colour=red", 1, "expected level="),
        (GOOD, "graph small", "grph small", 1, "expected `graph NAME"),
        (GOOD, GOOD, "", 0, "expected `graph NAME"),
        (GOOD, "y = linear x w ", "y = ", 4, ""),
        (GOOD, "y = linear x w             Nx2:f32", "y =", 4, "expected an op"),
        (GOOD, "= clip", "clip", 5, "expected note, input"),
        (GOOD, "  output z = z", "  note not-json", 6, "is not a quoted note"),
        (GOOD, "output z = z", 'output "z = z', 6, "cannot read"),
        (GOOD, "output z = z", 'output "\\q" = z', 6, "is not a quoted name"),
        (SCAN, "  }  Nx3:f32\n", "", 9, "no closing }"),
        (SCAN, "axis=1 {", "axis=1", 4, "expected {"),
        (SCAN, "scan body axis=1", "scan", 4, "is not a name"),
        (SCAN, "axis=1", "axis=7", 9, "axis 7"),
        (SCAN, "axis=1", "axis=-7", 9, "axis -7"),
        (SCAN, "axis=1", "pace=1", 9, "no attribute 'pace=1'"),
        (SCAN, "state h = h0", "state h = h1", 5, "no value 'h1' is defined above"),
        (SCAN, "add h e", "add h x", 7, "no value 'x' is defined above"),
        (SCAN, "  }  Nx3:f32", "  }  Nx4:f32", 9, "is written as Nx4:f32"),
        (SCAN, "  }  Nx3:f32", "  }  odd Nx3:f32", 9, "expected only the types"),
        (SCAN, "    yield s = s\n", "", 8, "gives 0 values for 1 states"),
        (SCAN, "yield s = s", "yield s = h0", 8, "no value 'h0'"),
        (SCAN, "element e = x  Nx3", "element e = x  Nx2", 7, "do not broadcast"),
    ],
)
def test_bad_texts_name_line_and_reason(source: str, old: str, new: str, line: int, message: str) -> None:
    assert old in source
    with pytest.raises(TextError) as caught:
        parse(source.replace(old, new, 1))
    found = str(caught.value)
    assert message in found
    assert found.startswith(f"line {line}: "), found


def test_big_constants_must_be_theirs() -> None:
    graph = Graph("big")
    graph.output("w", graph.constant("w", np.arange(12, dtype=np.float32).reshape(3, 4)))
    source, data = text(graph), tensors(graph)
    (digest,) = data
    for wrong, message in (
        ({}, "is missing from the tensors"),
        ({digest: data[digest] + 1}, "not what its digest says"),
        ({digest: data[digest].astype(np.float64)}, "but its data is float64"),
        ({digest: data[digest].T}, "of shape (4, 3)"),
    ):
        with pytest.raises(TextError, match="line 2") as caught:
            parse(source, wrong)
        assert message in str(caught.value)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_texts_are_refused_or_read_and_nothing_else(seed: int) -> None:
    """Lines dropped, swapped or cut, words exchanged, characters replaced: `TextError` or some graph."""
    rng = np.random.default_rng(seed)
    graph, data = random_graph(seed)
    stages = run_pipeline(graph, default_pipeline(4, 12), Context(data), check=False)
    graph = (graph, stages[-1].graph, next(stage.graph for stage in stages if stage.graph.level == "quantized"))[seed % 3]
    source, constants = text(graph), tensors(graph)
    refused = 0
    for _ in range(150):
        damaged = _damage(source, rng)
        try:
            parse(damaged, constants)
        except TextError:
            refused += 1
    assert refused


def _damage(source: str, rng: np.random.Generator) -> str:
    lines = source.splitlines()
    first, second = (int(index) for index in rng.integers(len(lines), size=2))
    match int(rng.integers(5)):
        case 0:
            lines.pop(first)
        case 1:
            lines[first], lines[second] = lines[second], lines[first]
        case 2:
            lines[first] = lines[first][: int(rng.integers(len(lines[first]) + 1))]
        case 3:
            ours, theirs = lines[first].split(), lines[second].split()
            if ours and theirs:
                ours[int(rng.integers(len(ours)))] = theirs[int(rng.integers(len(theirs)))]
            lines[first] = " ".join(ours)
        case _:
            letters = list(lines[first])
            letters[int(rng.integers(len(letters)))] = str(rng.choice(list('0123456789-=.,;:[]{}()"#*xNe \\')))
            lines[first] = "".join(letters)
    return "\n".join(lines)


def test_activations_keep_order() -> None:
    graph = Graph("order")
    x = graph.input("x", TensorType((N, 2), "f32"))
    parts = [graph.add1(Relu(), x, name="part") for _ in range(3)]
    graph.output("y", graph.add1(Concat(1), *reversed(parts)))
    assert [value.name for value in reads_back(graph).nodes[-1].operands] == ["part.2", "part.1", "part"]
