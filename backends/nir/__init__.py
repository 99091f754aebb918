"""NIR, the Neuromorphic Intermediate Representation (Pedersen et al., doi:10.1038/s41467-024-52259-9), out and in.

`write_nir` writes a machine program to a `.nir` file, `read_nir` reads one; docs/nir.md states the semantics and the
construction of the neurons. The package `nir` is imported when a file is written or read, and not before.
"""

from snnir.backends.nir.read import read_nir
from snnir.backends.nir.report import MODES, Mismatch, NirReport
from snnir.backends.nir.segments import write_segments
from snnir.backends.nir.write import Source, write_nir

__all__ = ["MODES", "Mismatch", "NirReport", "Source", "read_nir", "write_nir", "write_segments"]
