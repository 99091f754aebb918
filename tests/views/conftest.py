"""The demo's program with its data, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.runtime.program import Program
from snnir.views.page import Page

CHROMIUM = "/usr/bin/chromium"
PICTURES = Path(__file__).parents[2] / "out" / "views"
"""Screenshots are kept here, to be looked at."""


@dataclass(frozen=True)
class Digits:
    model: bytes
    calibration: np.ndarray
    x: np.ndarray
    labels: np.ndarray
    program: Program


@pytest.fixture(scope="session")
def digits() -> Digits:
    folder = files("snnir") / "data"
    model = (folder / "digits-crnn.onnx").read_bytes()
    with (folder / "digits.npz").open("rb") as file, np.load(file) as archive:
        calibration, x, labels = archive["calibration"][:64], archive["test"][:96], archive["labels"][:96]
    return Digits(model, calibration, x, labels, snnir.compile(model, calibration=calibration, bits=4, check=False))


@pytest.fixture(scope="session")
def explored(digits: Digits) -> Page:
    return snnir.explore(digits.model, digits.calibration, bits=4)


@pytest.fixture(scope="session")
def reported(digits: Digits) -> Page:
    few = snnir.compile(digits.model, calibration=digits.calibration, bits=4, neuron="few-spikes", check=False)
    programs = {"4 bits": digits.program, "few spikes": few}
    return snnir.report(programs, digits.x, digits.labels)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser: {CHROMIUM} does not exist (apt install chromium)")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()
