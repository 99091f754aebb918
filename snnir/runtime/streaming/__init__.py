"""Runs over data sets that need not fit into memory: read in chunks, written as they go, resumed, spread over a cluster.

`run_stream` is the door; `docs/large-runs.md` says what users are promised. Dask, zarr and pyarrow are imported only where
they are asked for.
"""

from snnir.runtime.streaming.chunks import Options
from snnir.runtime.streaming.job import DEFAULT_CHUNK, StreamResult, run_stream
from snnir.runtime.streaming.sources import Source, open_source

__all__ = ["DEFAULT_CHUNK", "Options", "Source", "StreamResult", "open_source", "run_stream"]
