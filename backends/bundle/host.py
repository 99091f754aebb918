"""The host's part of a model in a bundle: two graphs as text, whose large constants have a file of their own."""

from __future__ import annotations

from snnir.backends.bundle.fields import Fields
from snnir.errors import FileFormatError, GraphError
from snnir.ir.parse import parse
from snnir.ir.storage import load_tensors, save_tensors
from snnir.ir.text import tensors, text
from snnir.ir.verify import verify
from snnir.machine.host_graphs import HostGraphs
from snnir.machine.program import Input, IntegerProgram, Readout, emitting

__all__ = ["decode_host", "encode_host"]


def encode_host(host: HostGraphs) -> tuple[dict[str, str], bytes]:
    """The manifest's part, and the safetensors file of the constants that it names by digest."""
    data = {**tensors(host.before), **tensors(host.after)}
    return {"before": text(host.before), "after": text(host.after)}, save_tensors(data)


def decode_host(fields: Fields, content: bytes, program: IntegerProgram) -> HostGraphs:
    """What `encode_host` wrote, held against the program. Raises `FileFormatError`."""
    texts = {key: fields[key] for key in ("before", "after")}
    try:
        data = load_tensors(content)
        before, after = (parse(source, data) for source in texts.values())
        verify(before)
        verify(after)
    except (ValueError, GraphError) as error:
        raise FileFormatError(f"its manifest: {fields.what}: {error}") from error
    known = emitting(program)
    encoders = {name for name, (op, _) in known.items() if isinstance(op, Input)}
    readouts = {name for name, (op, _) in known.items() if isinstance(op, Readout)}
    if set(before.outputs) != encoders:
        raise fields.error(f"it gives {', '.join(before.outputs) or 'nothing'} for the inputs {', '.join(encoders) or 'none'}")
    unknown = {value.name for value in after.inputs} - readouts - {value.name for value in before.inputs}
    if unknown:
        raise fields.error(f"it takes {min(unknown)!r}, which is neither an input nor a readout")
    if set(after.outputs) != {output.name for output in program.outputs if output.kind != "levels"}:
        raise fields.error(f"it gives {', '.join(after.outputs) or 'nothing'}, which are not the program's outputs")
    return HostGraphs(before, after)
