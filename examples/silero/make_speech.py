"""Speech and silence for the Silero example, synthesised by eSpeak NG (Debian: espeak-ng).

Writes `speech.npz`: `audio` uint8[sequences, samples], 16 kHz, 8-bit mu-law (ITU-T G.711), sentences in several languages
and voices with silence and noise between them. The committed file was made by this script with eSpeak NG 1.51, and no
argument.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

RATE = 16_000
SENTENCES = (
    ("en-gb", "The birch canoe slid on the smooth planks."),
    ("en-us", "Glue the sheet to the dark blue background."),
    ("de", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich."),
    ("fr", "Portez ce vieux whisky au juge blond qui fume."),
    ("es", "El veloz murciélago hindú comía feliz cardillo y kiwi."),
    ("it", "Ma la volpe col suo balzo ha raggiunto il quieto Fido."),
    ("en-gb", "These days a chicken leg is a rare dish."),
    ("en-us", "Four hours of steady work faced us."),
    ("nl", "Pa's wijze lynx bezag vroom het fikse aquaduct."),
    ("pt", "Um pequeno jabuti xereta viu dez cegonhas felizes."),
    ("en-gb", "Rice is often served in round bowls."),
    ("pl", "Pchnąć w tę łódź jeża lub ośm skrzyń fig."),
)
VOICES = ("m1", "f2", "m3", "f4", "m7", "f5")


def say(language: str, voice: str, speed: int, sentence: str) -> np.ndarray:
    """The sentence at 16 kHz, float64 in -1..1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["espeak-ng", "-v", f"{language}+{voice}", "-s", str(speed), "-w", str(path), sentence]
        subprocess.run(command, check=True)
        with wave.open(str(path)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
            return resample_poly(sound, RATE, file.getframerate())


def sequence(index: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Sentences with pauses, over faint noise; every fourth sequence is noise, hum and clicks alone."""
    noise = rng.normal(size=samples) * 10 ** rng.uniform(-4.0, -2.2)
    if index % 4 == 3:
        time = np.arange(samples) / RATE
        clicks = (rng.uniform(size=samples) < 5 / RATE) * rng.normal(size=samples) * 0.5
        return noise * 3 + 0.05 * np.sin(2 * np.pi * rng.uniform(50, 400) * time) + clicks
    sound, place, turn = noise, int(rng.uniform(0.1, 0.8) * RATE), 0
    while place < samples:
        language, sentence = SENTENCES[(index * 5 + turn) % len(SENTENCES)]
        speech = say(language, VOICES[(index + turn) % len(VOICES)], int(rng.integers(130, 200)), sentence)
        speech = speech[: samples - place] * rng.uniform(0.3, 1.0)
        sound[place : place + len(speech)] += speech
        place, turn = place + len(speech) + int(rng.uniform(0.3, 1.0) * RATE), turn + 1
    return sound


def encode(sound: np.ndarray) -> np.ndarray:
    """8-bit mu-law of sound in -1..1."""
    clipped = np.clip(sound, -1, 1)
    curve = np.sign(clipped) * np.log1p(255 * np.abs(clipped)) / np.log1p(255)
    return np.floor((curve + 1) * 127.5 + 0.5).astype(np.uint8)


def main() -> None:
    """Make the sequences and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--chunks", type=int, default=96, help="chunks of 512 samples (32 ms) in a sequence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("speech.npz"))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    sounds = [sequence(index, 512 * options.chunks, rng) for index in range(options.sequences)]
    np.savez_compressed(options.output, audio=np.stack([encode(sound) for sound in sounds]))
    print(f"{options.output}: {options.sequences} sequences of {512 * options.chunks / RATE:.1f} s")


if __name__ == "__main__":
    main()
