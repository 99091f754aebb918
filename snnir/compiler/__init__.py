"""From a model to a program: importing, compiling, training, and looking at graphs before and on the way."""
