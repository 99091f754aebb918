"""Hardware text of a bundle: memory images for `$readmemh` with an address map, and a population in Verilog.

`docs/hardware.md` describes the files, the core's ports and its timing.
"""

from snnir.backends.bundle.hardware.images import Image, image_files, parse_image
from snnir.backends.bundle.hardware.layers import layer_files
from snnir.backends.bundle.hardware.memories import memory_files

__all__ = ["Image", "image_files", "layer_files", "memory_files", "parse_image"]
