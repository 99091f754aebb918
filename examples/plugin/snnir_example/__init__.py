"""An example of a package that extends snnir: one module for each entry point."""
