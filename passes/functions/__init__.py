"""Functions inside the network: which nodes they are, and their integer form."""
