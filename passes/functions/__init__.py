"""Functions inside the network: which nodes they are, and their integer form."""

from snnir.passes.functions import places as places  # registers its integer forms
