"""Read the text form of a graph (`snnir.ir.text`)."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

from snnir.errors import GraphError, TextError
from snnir.ir.dims import Dim, concrete
from snnir.ir.graph import Graph, Value
from snnir.ir.op import LEVELS, OPS
from snnir.ir.ops import Function, Scan
from snnir.ir.tokens import read_attributes, read_name, read_word, tokenize
from snnir.ir.types import DTYPES, TensorType, parse_type
from snnir.plugins import load_ops

__all__ = ["parse"]


def parse(source: str, tensors: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The graph that `text` wrote; `tensors` holds constants by digest. `parse(text(g), tensors(g)) == g`.

    Raises `TextError` naming the line, what was found and what is expected.
    """
    return _Reader(source, tensors or {}).graph()


class _Reader:
    def __init__(self, source: str, tensors: Mapping[str, np.ndarray]) -> None:
        self.lines = source.splitlines()
        self.tensors = tensors
        self.position = 0

    def fail(self, message: str, line: int | None = None) -> TextError:
        number = self.position if line is None else line
        shown = self.lines[number - 1].strip() if 0 < number <= len(self.lines) else "the end of the text"
        return TextError(f"line {number}: {message} (in: {shown})")

    def next(self) -> tuple[list[str], str | None] | None:
        """Words and comment of the next line that has any words; None at the end."""
        while self.position < len(self.lines):
            self.position += 1
            try:
                words, comment = tokenize(self.lines[self.position - 1])
            except TextError as error:
                raise self.fail(str(error)) from None
            if words:
                return words, comment
        return None

    def graph(self) -> Graph:
        line = self.next()
        if line is None or line[0][0] != "graph" or len(line[0]) < 3:
            raise self.fail("expected `graph NAME level=LEVEL`")
        facts = dict(word.partition("=")[::2] for word in line[0][2:])
        if facts.get("level") not in LEVELS or set(facts) - {"level", "after"}:
            raise self.fail(f"expected level={'|'.join(LEVELS)} and perhaps after=PASS")
        graph = Graph(self.name(line[0][1]), facts["level"], facts.get("after", ""))
        while (line := self.next()) is not None:
            words = line[0]
            if words[0] == "note" and len(words) == 2:
                graph.notes.append(self.note(words[1]))
            elif words[0] == "finite" and len(words) == 2:
                graph.finite.add(self.name(words[1]))
            elif words[0] == "limit" and len(words) == 3 and words[2].isdecimal():
                graph.limits[self.name(words[1])] = int(words[2])
            elif words[0] == "group" and len(words) == 4 and words[2].isdecimal() and words[3].isdecimal():
                graph.groups[self.name(words[1])] = int(words[2]), int(words[3])
            elif words[0] == "input" and len(words) == 3:
                self.guard(graph.input, self.name(words[1]), self.type(words[2]))
            elif words[0] == "output" and len(words) == 4 and words[2] == "=":
                self.guard(graph.output, self.name(words[1]), self.value(graph, words[3]))
            else:
                self.content(graph, *line)
        return graph

    def guard(self, action: object, *arguments: object) -> object:
        """Call, turning errors of the graph into errors of this line."""
        line = self.position
        try:
            return action(*arguments)  # type: ignore[operator]
        except TextError:
            raise
        except GraphError as error:
            raise self.fail(str(error), line) from error

    def note(self, word: str) -> str:
        try:
            return str(json.loads(word))
        except ValueError:
            raise self.fail(f"{word} is not a quoted note") from None

    def name(self, word: str) -> str:
        try:
            return read_name(word)
        except TextError as error:
            raise self.fail(str(error)) from None

    def type(self, word: str) -> TensorType:
        try:
            return parse_type(word)
        except GraphError as error:
            raise self.fail(str(error)) from None

    def value(self, graph: Graph, word: str) -> Value:
        name = self.name(word)
        if name not in graph.values:
            near = difflib.get_close_matches(name, graph.values, 1)
            raise self.fail(f"no value {name!r} is defined above" + (f"; did you mean {near[0]}?" if near else ""))
        return graph.values[name]

    def content(self, graph: Graph, words: list[str], comment: str | None) -> None:
        if words[0] == "const":
            self.constant(graph, words)
            return
        if "=" not in words:
            raise self.fail("expected note, input, const, output, or `results = op operands attributes TYPE`")
        equals = words.index("=")
        results = [self.name(word) for word in words[:equals] if word != ","]
        if len(words) < equals + 2:
            raise self.fail("expected an op after =")
        op_name, rest = words[equals + 1], words[equals + 2 :]
        if op_name not in OPS:
            load_ops()
        if op_name not in OPS:
            near = difflib.get_close_matches(op_name, OPS, 1)
            raise self.fail(f"unknown op {op_name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if issubclass(OPS[op_name], Scan | Function):
            self.with_body(graph, op_name, results, rest)
            return
        rest, types = self.split_types(rest, len(results))
        operands = [self.value(graph, word) for word in rest if not _is_attribute(word)]
        try:
            op = read_attributes(OPS[op_name], [word for word in rest if _is_attribute(word)])
        except TextError as error:
            raise self.fail(str(error)) from None
        line = self.position
        try:
            values = graph.add(op, *operands, names=results, origin=self.origin(comment))
        except GraphError as error:
            raise self.fail(str(error), line) from error
        self.check_results(values, results, types)

    def split_types(self, words: list[str], count: int) -> tuple[list[str], list[TensorType]]:
        """The last words are the types of the results, with commas between them."""
        size = 2 * count - 1
        if len(words) < size:
            raise self.fail("expected the types of the results at the end of the line")
        return words[:-size], [self.type(word) for word in words[len(words) - size :: 2]]

    def check_results(self, values: Sequence[Value], names: Sequence[str], types: Sequence[TensorType]) -> None:
        if len(values) != len(names):
            raise self.fail(f"expected {len(values)} results, found {len(names)}")
        for value, name, type_ in zip(values, names, types, strict=True):
            if value.name != name:
                raise self.fail(f"{name!r} is defined twice")
            if value.type != type_:
                raise self.fail(f"{name} is written as {type_}, but is {value.type}")

    def origin(self, comment: str | None) -> tuple[str, ...]:
        if not comment:
            return ()
        try:
            words = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,"]+)\s*(?:,|$)', comment)
            return tuple(str(json.loads(word)) if word.startswith('"') else word.strip() for word in words)
        except ValueError:
            raise self.fail("the comment does not list origins, separated by commas") from None

    def constant(self, graph: Graph, words: list[str]) -> None:
        if len(words) < 4:
            raise self.fail("expected `const NAME TYPE = [..]` or `const NAME TYPE range=.. digest=..`")
        name, type_ = self.name(words[1]), self.type(words[2])
        if any(isinstance(size, Dim) for size in type_.shape):
            raise self.fail("a constant has a fixed shape")
        shape = tuple(concrete(size) for size in type_.shape)
        if words[3] == "=" and len(words) == 5:
            array = self.inline(words[4], type_, shape)
        else:
            facts = dict(word.partition("=")[::2] for word in words[3:])
            if facts.get("digest") not in self.tensors:
                raise self.fail(f"the data of constant {name} (digest {facts.get('digest')}) is missing from the tensors")
            array = self.tensors[facts["digest"]]
            if array.dtype != DTYPES[type_.dtype] or array.shape != shape:
                raise self.fail(f"constant {name} is written as {type_}, but its data is {array.dtype} of shape {array.shape}")
        if name in graph.values:
            raise self.fail(f"{name!r} is defined twice")
        value = self.guard(graph.constant, name, array)
        assert isinstance(value, Value)
        if words[3] != "=" and value.digest != facts["digest"]:
            raise self.fail(f"the data of constant {name} is not what its digest says")

    def inline(self, word: str, type_: TensorType, shape: tuple[int, ...]) -> np.ndarray:
        items = [item for item in word.strip("[]").split(";") if item]
        try:
            if type_.dtype == "str":
                return np.array([read_word(item) for item in items], np.str_).reshape(shape)
            numbers = [{"true": True, "false": False}[item] if type_.dtype == "bool" else _number(item) for item in items]
            return np.array(numbers, DTYPES[type_.dtype]).reshape(shape)
        except (ValueError, KeyError, OverflowError) as error:
            raise self.fail(f"{word} is not {type_}: {error}") from None

    def with_body(self, graph: Graph, op_name: str, results: list[str], rest: list[str]) -> None:
        if not rest or rest[-1] != "{":
            raise self.fail("expected { at the end of the line, and the body below")
        body = Graph(self.name(rest[0]), graph.level)
        scan = issubclass(OPS[op_name], Scan)
        counts = {"state": 0, "element": 0, "shared": 0} if scan else {"given": 0}
        operands: list[Value] = []
        attributes = list(rest[1:-1])
        while True:
            line = self.next()
            if line is None:
                raise self.fail(f"the body of {op_name} has no closing }}")
            words, comment = line
            if words[0] == "}":
                break
            if words[0] in ("note", "input", "output"):
                raise self.fail(f"the body of {op_name} has no closing }}")
            if words[0] in counts and len(words) == 5 and words[2] == "=":
                counts[words[0]] += 1
                operands.append(self.value(graph, words[3]))
                self.guard(body.input, self.name(words[1]), self.type(words[4]))
            elif words[0] == "yield" and len(words) == 4 and words[2] == "=":
                self.guard(body.output, self.name(words[1]), self.value(body, words[3]))
            else:
                self.content(body, words, comment)
        rest, types = self.split_types(words[1:], len(results))
        if rest:
            raise self.fail("expected only the types of the results after }")
        if scan:
            attributes += [f"states={counts['state']}", f"elements={counts['element']}"]
        try:
            op = read_attributes(OPS[op_name], attributes)
            values = graph.add(op, *operands, names=results, origin=self.origin(comment), body=body)
        except GraphError as error:
            raise self.fail(str(error)) from error
        self.check_results(values, results, types)


def _is_attribute(word: str) -> bool:
    return "=" in word and not word.startswith('"')


def _number(item: str) -> int | float:
    return int(item) if re.fullmatch(r"-?\d+", item) else float(item)
