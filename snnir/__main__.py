"""The command line's start: `snnir`, and `python -m snnir`."""

from __future__ import annotations

import sys

from snnir.cli.main import main

__all__ = ["main"]


if __name__ == "__main__":
    sys.exit(main())
