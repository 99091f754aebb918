"""snnir: compile trained sequence networks into spiking networks, exactly."""

__version__ = "0.1.0"
