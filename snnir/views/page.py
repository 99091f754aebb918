"""Pages of one file: the data, compressed, and the scripts and styles that `make web` builds from `snnir/views/web`."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from snnir.ir.storage import atomic_write

__all__ = ["Page", "page", "to_json"]

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
img-src data: blob:">
<meta name="generator" content="snnir">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="app"><noscript>This page draws its graphs with JavaScript.</noscript></div>
<script type="application/octet-stream" id="data">{data}</script>
<script type="text/plain" id="licences">{licences}</script>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Page:
    """A page for a browser, and the data that it shows."""

    kind: str
    """`explore` or `report`."""
    title: str
    data: Mapping[str, object]

    def html(self) -> str:
        """The page, whole."""
        return page(self.kind, self.title, self.data)

    def json(self, indent: int | None = None) -> str:
        """The data as JSON."""
        return to_json(self.data, indent)

    def save(self, path: str | Path) -> None:
        """Write the page to one file, whole or not at all. Raises `UsageError` where the path cannot be written."""
        atomic_write(Path(path), self.html().encode())

    def __repr__(self) -> str:
        return f"<Page {self.title}: save() writes it for a browser>"

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook."""
        inner = html.escape(self.html(), quote=True)
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{inner}" style="width: 100%; height: 720px; border: 0"></iframe>'
        )


def page(kind: str, title: str, data: Mapping[str, object]) -> str:
    """The page `explore` or `report` with its data, in one file that loads nothing from elsewhere."""
    static = files("snnir.views") / "static"
    packed = gzip.compress(to_json(data).encode(), 9, mtime=0)
    script = (static / f"{kind}.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    return _TEMPLATE.format(
        title=html.escape(title),
        style=(static / f"{kind}.css").read_text(encoding="utf-8"),
        data=base64.b64encode(packed).decode(),
        licences=html.escape((static / "licences.txt").read_text(encoding="utf-8"), quote=False),
        script=script,
    )


def to_json(data: Mapping[str, object], indent: int | None = None) -> str:
    """JSON as every reader takes it: numbers that it has no words for (NaN, infinities) are null."""
    return json.dumps(_plain(data), indent=indent, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) or value is None else str(value)
