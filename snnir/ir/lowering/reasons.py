"""Why operators are refused that more than one framework has."""

__all__ = ["DETERMINANT", "FINITE", "RANDOM", "SIZE", "TRAINING", "WEIGHTS"]

RANDOM = "its result is random, so nothing could be compared exactly; export the model in evaluation mode"
TRAINING = "it is part of training; export the model for inference"
WEIGHTS = "its weights depend on the input, so no synapse can hold them"
SIZE = "the size of its result depends on the data, and a spiking network has a fixed number of neurons"
FINITE = "values of a network are finite by construction: NaN and infinities are refused where they could reach it"
DETERMINANT = "a determinant is a sum of products of as many factors as the matrix has rows; no synapse computes it"
