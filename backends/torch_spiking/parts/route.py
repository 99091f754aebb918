"""Routes: events at other addresses."""

from __future__ import annotations

import torch

from snnir.backends.torch_spiking.parts.base import Building, Part, runs
from snnir.backends.torch_spiking.trains import Places, as_long
from snnir.backends.torch_spiking.window import Window
from snnir.machine.route import Route

__all__: list[str] = []


@runs(Route)
class RoutePart(Part[Route]):
    """The sources side by side, read through the map."""

    def __init__(self, op: Route, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.places = Places(op.map, building.device)

    def __call__(self, window: Window) -> None:
        """Enter the routed train."""
        trains = as_long([window.trains[source] for source in self.op.sources])
        window.trains[self.op.train.name] = self.places.of(trains[0] if len(trains) == 1 else torch.cat(trains, dim=2))
