"""Sequence regression: next year's sunspot number from the 24 years before it, as a float, a quantized and a spiking network.

    python examples/sunspots/sunspots.py [--bits 8 6 4] [--csv FILE] [--validate] [--output out/sunspots]

The yearly numbers of 1700 to 2008 are public domain and ship in the package statsmodels (`pip install --no-deps statsmodels`).
Years to 1920 train; 1921 to 1955 and 1956 to 1979 are predicted, the two test periods of Weigend, Huberman and Rumelhart
(1990). With `--validate` years to 1890 train and 1891 to 1920 are predicted: what the recipe was chosen with. The loss is the
mean squared error of numbers divided by 200.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

import snnir
import snnir.torch

YEARS, SCALE, CAP = 24, 200.0, 8


class Network(nn.Module):
    """A CRNN, x [N, 24, 1] to the next number [N, 1]: convolution, IndRNN with tanh, linear readout of the last element."""

    def __init__(self, channels: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, channels, 3)
        self.recurrent = snnir.torch.IndRNN(channels, hidden, nonlinearity="tanh", length=YEARS)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The prediction."""
        y, _ = self.recurrent(torch.relu(self.convolution(x.transpose(1, 2))).transpose(1, 2))
        result: torch.Tensor = self.readout(y[:, -1])
        return result


def find_csv() -> Path:
    """`sunspots.csv` of the installed package."""
    try:
        return Path(str(metadata.distribution("statsmodels").locate_file("statsmodels/datasets/sunspots/sunspots.csv")))
    except metadata.PackageNotFoundError:
        sys.exit("the data come with a package: pip install --no-deps statsmodels==0.15.0, or give --csv FILE")


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Years [n] that can be predicted, the 24 numbers before each float32 [n, 24, 1], and the number itself float32 [n, 1]."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(int(row["YEAR"]), float(row["SUNACTIVITY"])) for row in csv.DictReader(file)]
    years, numbers = np.array([year for year, _ in rows]), np.array([number for _, number in rows], np.float32) / SCALE
    before = np.lib.stride_tricks.sliding_window_view(numbers, YEARS)[:-1]
    return years[YEARS:], before[:, :, None].astype(np.float32), numbers[YEARS:, None]


def train(module: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> None:
    """AdamW on all years at once with a one-cycle schedule; noise on the inputs."""
    inputs, goal = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs)
    for _ in range(epochs):
        loss = nn.functional.mse_loss(module((inputs + 0.05 * torch.randn_like(inputs)).clamp_min(0)), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def loss(prediction: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error."""
    return float(((prediction.reshape(y.shape).astype(np.float64) - y) ** 2).mean())


def autoregression(x: np.ndarray, y: np.ndarray, inputs: np.ndarray, order: int = 9) -> np.ndarray:
    """Least squares on the last `order` numbers and a constant: what a network should be better than."""
    known, asked = (np.concatenate([part[:, -order:, 0], np.ones((len(part), 1))], axis=1) for part in (x, inputs))
    prediction: np.ndarray = asked @ np.linalg.lstsq(known, y, rcond=None)[0]
    return prediction


def measure(program: snnir.Program, periods: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, object]:
    """Losses of the quantized and the spiking network, of the spiking one after 8 steps, and how many integers differ."""
    row: dict[str, object] = {}
    for name, (x, y) in periods.items():
        (quantized,), (spiking,) = (program.reference(x).values(), program.run(x).outputs.values())
        (capped,) = program.run(x, steps=CAP).outputs.values()
        row[name] = {"quantized": loss(quantized, y), "spiking": loss(spiking, y), f"after {CAP} steps": loss(capped, y)}
    x = np.concatenate([x for x, _ in periods.values()])
    verification, result = program.verify(x), program.run(x)
    steps = {"steps_mean": float(result.steps[:, 1:].mean()), "steps_max": int(result.steps.max()), "bound": verification.bound}
    return row | steps | {"mismatches": verification.mismatches, "compared": verification.compared}


def main() -> None:
    """Train, convert, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 4])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("out/sunspots"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    years, x, y = read(arguments.csv or find_csv())
    spans = [(1891, 1920)] if arguments.validate else [(1921, 1955), (1956, 1979)]
    periods = {f"{a}-{b}": (x[(years >= a) & (years <= b)], y[(years >= a) & (years <= b)]) for a, b in spans}
    known = years < spans[0][0]
    network = Network()
    train(network, x[known], y[known], arguments.epochs, arguments.rate)
    network.eval()
    rows: list[dict[str, object]] = []
    with torch.no_grad():
        floats = {name: loss(network(torch.from_numpy(inputs)).numpy(), goal) for name, (inputs, goal) in periods.items()}
    linear = {name: loss(autoregression(x[known], y[known], inputs), goal) for name, (inputs, goal) in periods.items()}
    last_year = {name: loss(inputs[:, -1], goal) for name, (inputs, goal) in periods.items()}
    print(f"{known.sum()} years train. Loss of last year's number again: {last_year}; of a linear model of 9 years: {linear}; ")
    print(f"of the float network: {floats}")
    for bits in arguments.bits:
        rows.append({"bits": bits, **measure(snnir.compile(network, calibration=x[known], bits=bits), periods)})
    for row in rows:
        print(row)
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = {"float": floats, "linear, 9 years": linear, "last year again": last_year, "rows": rows}
    (arguments.output / "sunspots.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
