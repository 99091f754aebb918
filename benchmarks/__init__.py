"""Measurements: `python -m benchmarks` compares snnir with peers and with the machine; the other programs run alone."""
