"""Runs over data sets that need not fit into memory (docs/large-runs.md): the public names of `snnir.runtime.streaming`."""

from snnir.runtime.streaming import DEFAULT_CHUNK, Options, Source, StreamResult, open_source, run_stream

__all__ = ["DEFAULT_CHUNK", "Options", "Source", "StreamResult", "open_source", "run_stream"]
