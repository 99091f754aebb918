"""Frontends: each turns models of one source format into float-level graphs, and does nothing else to them."""
