"""The walk over the nodes of an exported program or of a body inside one: each is folded, imported or refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import torch

from snnir.errors import GraphError, Refusal, SnnirError, unforeseen
from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.complex_value import Complex, is_complex
from snnir.frontends.torch.promotion import holds_integers, of_integers
from snnir.frontends.torch.refused import reason_of
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, Steps, Unknown, find
from snnir.ir import Dim, Graph, Value
from snnir.ir.dims import names_of
from snnir.ir.lowering.finite import Questions
from snnir.ir.lowering.sizes import open_sizes
from snnir.ir.ops.rules import broadcast

__all__ = ["Scope", "import_nodes", "origin_of"]

_SIZES: dict[object, Callable[..., Entry]] = {
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.floordiv: operator.floordiv,
    operator.neg: operator.neg,
}
"""Arithmetic of sizes, which named sizes know."""

_QUESTIONS = {operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.and_, operator.mod}
_IGNORED = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size", "sym_constrain_range", "_assert_async")


class Scope:
    """What the nodes of one fx graph stand for, and the graph of the IR that they become part of."""

    def __init__(self, graph: Graph, inner: bool = False) -> None:
        self.graph, self.inner = graph, inner
        """Whether it is the body of a scan, which takes values from around it."""
        self.entries: dict[torch.fx.Node, Entry] = {}
        self.names: dict[int, str] = {}
        """Names of known tensors, by their identity."""
        self._constants: dict[int, tuple[torch.Tensor, Value]] = {}
        self.questions = Questions()
        """What becomes of questions for NaN and infinities."""

    def constant(self, tensor: torch.Tensor, name: str) -> Value:
        """A constant of the graph; the same tensor gives the same one."""
        known = self._constants.get(id(tensor))
        if known is None:
            name = self.names.get(id(tensor), name)
            # the tensor is kept, so that its identity stays its own
            known = self._constants[id(tensor)] = tensor, self.graph.constant(name, to_array(tensor, name))
        return known[1]

    def find(self, argument: object) -> Entry:
        """An argument of an fx node as an entry, lists included."""
        if isinstance(argument, torch.fx.Node):
            return self.entries[argument]
        if isinstance(argument, list | tuple):
            return [self.find(item) for item in argument]
        return argument


def import_nodes(scope: Scope, nodes: Sequence[torch.fx.Node]) -> list[Refusal]:
    """Import the `call_function` nodes among `nodes`, entering their results in `scope`; what was refused."""
    refused: list[Refusal] = []
    for node in nodes:
        if node.op == "call_function":
            try:
                scope.entries[node] = _result(scope, node)
            except (RefusalError, GraphError, NotImplementedError) as error:
                scope.entries[node] = None
                if str(error):
                    refused.append(Refusal(describe(node), str(error), (origin_of(node),), _open(scope, node)))
            except SnnirError:
                raise
            except Exception as error:  # one node must not hide what becomes of the others
                scope.entries[node] = None
                reason, trace = unforeseen(error)
                refused.append(Refusal(describe(node), reason, (origin_of(node),), _open(scope, node), trace))
    return refused


def _result(scope: Scope, node: torch.fx.Node) -> Entry:
    name = str(node.target)
    if any(word in name for word in _IGNORED):
        return Unknown("it takes the result of an assertion")
    arguments = _arguments(scope, node)
    if any(_lacking(scope, argument) for argument in node.all_input_nodes):
        # what it takes was refused: one line for the cause is enough
        known = find(name) or find(name, True) or not isinstance(node.target, torch._ops.OpOverload)
        raise RefusalError("" if known else reason_of(name))
    if node.target is operator.getitem:
        return arguments["0"][arguments["1"]]
    if node.target in _SIZES:
        return _SIZES[node.target](*arguments.values())
    if node.target in _QUESTIONS:
        values = list(arguments.values())
        if any(isinstance(value, Dim | Unknown) for value in values):
            return Unknown("it depends on a comparison of sizes that are known only at run time")
        return node.target(*values)
    folded = _folded(node, arguments)
    if folded is not None:
        return folded
    complex_ = any(is_complex(leaf) for entry in arguments.values() for leaf in _leaves(entry))
    if not complex_ and any(holds_integers(leaf) for entry in arguments.values() for leaf in _leaves(entry)):
        return of_integers(Call(scope, node, arguments, origin_of(node)))
    function = find(name, complex_)
    if function is None:
        raise RefusalError(reason_of(name, complex_))
    return function(Call(scope, node, arguments, origin_of(node)))


def _open(scope: Scope, node: torch.fx.Node) -> frozenset[str]:
    """Open sizes that the node's operands depend on."""
    entries = [scope.entries.get(operand) for operand in node.all_input_nodes]
    named = frozenset().union(*(names_of(entry) for entry in entries if isinstance(entry, Dim)))
    return open_sizes(entries) | named


def _lacking(scope: Scope, node: torch.fx.Node) -> bool:
    return node in scope.entries and scope.entries[node] is None


def _arguments(scope: Scope, node: torch.fx.Node) -> dict[str, Entry]:
    """Arguments by the names of the schema, defaults filled in; by their places where there is no schema."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {str(place): _find_or_graph(scope, item) for place, item in enumerate(node.args)} | {
            key: scope.find(item) for key, item in node.kwargs.items()
        }
    found: dict[str, Entry] = {}
    for place, argument in enumerate(node.target._schema.arguments):
        if place < len(node.args):
            found[argument.name] = scope.find(node.args[place])
        elif argument.name in node.kwargs:
            found[argument.name] = scope.find(node.kwargs[argument.name])
        else:
            found[argument.name] = argument.default_value if argument.has_default_value() else None
    return found


def _find_or_graph(scope: Scope, item: object) -> Entry:
    if isinstance(item, torch.fx.Node) and item not in scope.entries:
        return item
    return scope.find(item)


def _leaves(entry: Entry) -> list[Entry]:
    return [leaf for item in entry for leaf in _leaves(item)] if isinstance(entry, list | tuple) else [entry]


def _folded(node: torch.fx.Node, arguments: dict[str, Entry]) -> Entry:
    """What PyTorch computes where everything is known; None where something is not."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    leaves = [leaf for entry in arguments.values() for leaf in _leaves(entry)]
    if any(isinstance(leaf, Value | Complex | Steps | Dim | Unknown) for leaf in leaves):
        return None
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor | Spread)]
    if random or (node.target.namespace != "aten"):
        return None
    spread = [leaf for leaf in tensors if isinstance(leaf, Spread)]
    if spread and torch.Tag.pointwise not in node.target.tags and "aten.clone" not in str(node.target):
        return None
    plain = {
        name: _plain(entry)
        for name, entry in arguments.items()
        if name not in ("device", "layout", "pin_memory") or not isinstance(entry, torch.device)
    }
    with torch.no_grad():
        result = node.target(**plain)
    if isinstance(result, tuple):
        return list(result)
    if spread:
        shapes = [leaf.shape if isinstance(leaf, Spread) else tuple(leaf.shape) for leaf in tensors]
        return Spread(result, broadcast(*shapes))
    return result


def _plain(entry: Entry) -> Entry:
    if isinstance(entry, list | tuple):
        return [_plain(item) for item in entry]
    if isinstance(entry, Spread):
        return entry.array
    return entry.detach().to("cpu") if isinstance(entry, torch.Tensor) else entry


def _module(node: torch.fx.Node) -> tuple[str, str, bool]:
    """Path and class of the innermost module that the node belongs to, and whether it is one of PyTorch's own."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", "", False
    path, kind = list(stack.values())[-1]
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return path.replace("L['self'].", "").replace("L['self']", ""), name.rsplit(".", 1)[-1], name.startswith("torch.nn.modules.")


def _operator(node: torch.fx.Node) -> str:
    name = str(node.target) if isinstance(node.target, torch._ops.OpOverload) else getattr(node.target, "__name__", "call")
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def origin_of(node: torch.fx.Node) -> str:
    """`Conv1d /features.0` for a module of PyTorch's own, `relu /block` for a function called in the module `block`."""
    path, kind, own = _module(node)
    return f"{kind if own else _operator(node)} /{path}"


def describe(node: torch.fx.Node) -> str:
    """Where a refused node stands in the user's model: operator, module path, source line."""
    path, kind, _ = _module(node)
    place = f"in {kind} /{path}" if kind else "in the model"
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File ")]
    own = [line for line in lines if "/torch/" not in line]
    source = ""
    if own:
        file, line = own[-1].split('"')[1], own[-1].split("line ")[1].split(",")[0]
        source = f" ({file.rsplit('/', 1)[-1]}, line {line})"
    return f"{node.target} {place}{source}"
