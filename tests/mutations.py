"""Damaged ONNX files: one mutation of attributes, sizes, types, names or bytes of a real one."""

from __future__ import annotations

import random

import onnx
from google.protobuf.message import DecodeError, EncodeError

__all__ = ["KINDS", "mutated"]

_SMALL, _LARGE = (-7, -1, 0, 1, 2, 3, 5, 17, 255, 4096), (1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1)
_INTEGERS = (-(1 << 62), -(1 << 31), *_SMALL, *_LARGE)
_REALS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"), 0.5)
_WORDS = (b"", b"SAME_UPPER", b"nearest", b"reverse", b"Tanh", b"\xff\xfe", b"mean")
_TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 13, 16, 17, 99)


def _attributes(model: onnx.ModelProto, rng: random.Random) -> None:
    owners = [(node, place) for node in model.graph.node for place in range(len(node.attribute))]
    if not owners:
        return
    node, place = rng.choice(owners)
    attribute = node.attribute[place]
    choice = rng.random()
    if choice < 0.15:
        del node.attribute[place]
    elif choice < 0.25:
        attribute.type = rng.choice([1, 2, 3, 6, 7, 8])
    elif choice < 0.35:
        attribute.name = rng.choice(["axis", "axes", "pads", "strides", "kernel_shape", "perm", "to", "group", "hidden_size"])
    elif attribute.ints:
        if rng.random() < 0.4:
            attribute.ints.append(rng.choice(_INTEGERS))
        elif rng.random() < 0.4:
            del attribute.ints[rng.randrange(len(attribute.ints))]
        else:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_INTEGERS)
    elif attribute.HasField("s"):
        attribute.s = rng.choice(_WORDS)
    elif attribute.HasField("f"):
        attribute.f = rng.choice(_REALS)
    elif attribute.HasField("t"):
        _tensor(attribute.t, rng)
    else:
        attribute.i = rng.choice(_INTEGERS)


def _tensor(tensor: onnx.TensorProto, rng: random.Random) -> None:
    choice = rng.random()
    if choice < 0.3 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_INTEGERS)
    elif choice < 0.4:
        tensor.dims.append(rng.choice(_INTEGERS))
    elif choice < 0.5:
        tensor.data_type = rng.choice(_TYPES)
    elif choice < 0.75 and tensor.int64_data:
        tensor.int64_data[rng.randrange(len(tensor.int64_data))] = rng.choice(_INTEGERS)
    elif tensor.data_type == onnx.TensorProto.INT64 and len(tensor.raw_data) >= 8:
        place = 8 * rng.randrange(len(tensor.raw_data) // 8)
        word = (rng.choice(_INTEGERS) % (1 << 64)).to_bytes(8, "little")
        tensor.raw_data = tensor.raw_data[:place] + word + tensor.raw_data[place + 8 :]
    elif tensor.raw_data:
        place = rng.randrange(len(tensor.raw_data))
        tensor.raw_data = tensor.raw_data[:place] + bytes([rng.randrange(256)]) + tensor.raw_data[place + 1 :]
    elif tensor.float_data:
        tensor.float_data[rng.randrange(len(tensor.float_data))] = rng.choice(_REALS)


def _sizes(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.initializer and rng.random() < 0.6:
        integers = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT64]
        _tensor(rng.choice(integers if integers and rng.random() < 0.6 else list(model.graph.initializer)), rng)
        return
    entries = [entry for entry in (*model.graph.input, *model.graph.output) if entry.type.tensor_type.shape.dim]
    if entries:
        sizes = rng.choice(entries).type.tensor_type.shape.dim
        choice = rng.random()
        if choice < 0.2:
            del sizes[rng.randrange(len(sizes))]
        elif choice < 0.4:
            sizes.add().dim_value = rng.choice(_INTEGERS)
        elif choice < 0.6:
            sizes[rng.randrange(len(sizes))].dim_param = rng.choice(["N", "T", "x y", "?", "1", "batch*2", ""])
        else:
            sizes[rng.randrange(len(sizes))].dim_value = rng.choice(_INTEGERS)


def _types(model: onnx.ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.5 and model.graph.input:
        rng.choice(list(model.graph.input)).type.tensor_type.elem_type = rng.choice(_TYPES)
    elif model.graph.node:
        others = sorted({node.op_type for node in model.graph.node}) + ["Conv", "MatMul", "Reshape", "LSTM", "Concat", "Gather"]
        rng.choice(list(model.graph.node)).op_type = rng.choice([*others, "Resize", "Slice", "Pad", "Split", "Tile", "Nothing"])


def _names(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = [node for node in model.graph.node if node.input]
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] + ["", "nowhere"]
    if not nodes:
        return
    node = rng.choice(nodes)
    choice = rng.random()
    if choice < 0.5:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif choice < 0.65:
        node.input.append(rng.choice(names))
    elif choice < 0.8:
        del node.input[rng.randrange(len(node.input))]
    elif node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


KINDS = {"attributes": _attributes, "sizes": _sizes, "types": _types, "names": _names, "bytes": None}


def mutated(content: bytes, kind: str, seed: int) -> bytes:
    """A model's bytes with one mutation, the same one for the same seed."""
    rng = random.Random(seed)
    change = KINDS[kind]
    if change is None:
        return _bytes(content, rng)
    model = onnx.load_model_from_string(content)
    try:
        change(model, rng)
        return bytes(model.SerializeToString())
    except (DecodeError, EncodeError, ValueError, TypeError):  # what protobuf itself does not hold
        return content
