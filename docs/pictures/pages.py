"""Takes explore.png and report.png in Debian's Chromium, of pages on the demo: python docs/pictures/pages.py"""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import snnir
from snnir.views.page import Page

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    """Both pictures."""
    folder = files("snnir") / "data"
    with (folder / "digits.npz").open("rb") as file, np.load(file) as archive:
        calibration, x, labels = archive["calibration"], archive["test"], archive["labels"]
    model = (folder / "digits-crnn.onnx").read_bytes()
    programs = {f"{bits} bits": snnir.compile(model, calibration=calibration, bits=bits, check=False) for bits in (4, 3, 2)}
    programs["4 bits, few spikes"] = snnir.compile(model, calibration=calibration, bits=4, neuron="few-spikes", check=False)
    explored = snnir.explore(folder / "digits-crnn.onnx", calibration, bits=4)
    reported = snnir.report(programs, x, labels)
    with sync_playwright() as playwright, TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True).new_page()
        show(tab, explored, Path(scratch) / "page.html")
        tab.click(".graph [data-key='rows']")
        picture(tab, HERE / "explore.png")
        show(tab, reported, Path(scratch) / "page.html")
        picture(tab, HERE / "report.png")
        browser.close()


def show(tab: Any, page: Page, path: Path) -> None:
    """Load a page, and wait until it stands."""
    page.save(path)
    tab.goto(path.as_uri())
    while not tab.evaluate("window.snnirTiming?.ready > 0"):
        time.sleep(0.05)


def picture(tab: Any, path: Path) -> None:
    """A picture of what is seen."""
    tab.wait_for_timeout(300)
    tab.screenshot(path=path)


if __name__ == "__main__":
    main()
