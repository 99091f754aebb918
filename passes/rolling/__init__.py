"""Unrolled recurrences: what a step is (`pattern.py`), that all steps are that (`proof.py`), and the scan (`write.py`)."""

from snnir.passes.rolling.elements import join_concatenations, merge_duplicates, sequences
from snnir.passes.rolling.proof import LEAST_STEPS, find_unrolled
from snnir.passes.rolling.write import rolled

__all__ = ["LEAST_STEPS", "find_unrolled", "join_concatenations", "merge_duplicates", "rolled", "sequences"]
