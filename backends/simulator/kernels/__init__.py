"""The compiled part of the simulator: functions on arrays, compiled by Numba on first use and kept in a cache.

`constants.py` needs no Numba. `types.py` says what the compiled part reads and writes. `routines.py` lists the functions that
are compiled on their own, each when a network first needs it; all others are parts of these. `numba_compat.py` is the only
module that touches the insides of Numba and llvmlite.
"""
