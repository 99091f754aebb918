"""Unrolled recurrences: what a step is (`pattern.py`), that all steps are that (`proof.py`), and the scan (`write.py`)."""

from snnir.passes.rolling.elements import merge_duplicates
from snnir.passes.rolling.proof import find_unrolled
from snnir.passes.rolling.write import rolled

__all__ = ["find_unrolled", "merge_duplicates", "rolled"]
