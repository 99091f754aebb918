"""Spiking libraries, each in a file of its own; imported by workers of the peers' environment, which has no snnir."""
