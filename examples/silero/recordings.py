"""Recorded speech for the Silero example, of WAV and raw files that are at hand.

    python examples/silero/recordings.py FOLDER [FOLDER ...] --output recordings.npz

Takes every `.wav` file (one channel, 16 bits, any rate) and `.raw` file (16 kHz, 16 bits) below the folders that holds half a
second or more. Files follow one another with pauses of recorded silence between them: each pause is the quietest tenth of a
second of the file before it, repeated. Every second file calibrates (the first half of the sequences), the others are measured.
The format is that of `make_speech.py`.

Debian has recordings of people: LibriVox, card names and commands in pocketsphinx-testdata (16 kHz), telephone prompts in
asterisk-core-sounds-en-wav (8 kHz), names of loudspeakers in alsa-utils.
"""

from __future__ import annotations

import argparse
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
from make_speech import encode
from scipy.signal import resample_poly

RATE = 16_000
PAUSE = 0.6
"""Seconds between two files."""


def read(path: Path) -> np.ndarray:
    """The sound of a file at 16 kHz, float64 in -1..1, at most 0.7."""
    if path.suffix == ".raw":
        sound, rate = np.fromfile(path, "<i2") / 32768, RATE
    else:
        with wave.open(str(path)) as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise SystemExit(f"{path}: {file.getnchannels()} channels of {8 * file.getsampwidth()} bits; give one of 16")
            sound, rate = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768, file.getframerate()
    ratio = Fraction(RATE, rate)
    sound = resample_poly(sound, ratio.numerator, ratio.denominator)
    return np.asarray(0.7 * sound / max(np.abs(sound).max(initial=0), 1e-3))


def pause(sound: np.ndarray) -> np.ndarray:
    """The quietest tenth of a second, forwards and backwards in turns, for `PAUSE` seconds."""
    size = RATE // 10
    starts = range(0, max(len(sound) - size, 1), size // 2)
    quiet = min((sound[start : start + size] for start in starts), key=lambda part: float((part**2).sum()))
    turns = [quiet, quiet[::-1]] * (int(PAUSE * RATE) // (2 * len(quiet)) + 1)
    return np.concatenate(turns)[: int(PAUSE * RATE)]


def sequences(files: list[Path], samples: int) -> np.ndarray:
    """float64[sequences, samples]: files one behind the other, what does not fill a sequence left away."""
    parts = [part for path in files for sound in [read(path)] for part in (sound, pause(sound))]
    whole = np.concatenate(parts)
    return whole[: len(whole) // samples * samples].reshape(-1, samples)


def main() -> None:
    """Read the files and write the sequences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--chunks", type=int, default=64, help="chunks of 512 samples (32 ms) in a sequence")
    parser.add_argument("--output", type=Path, default=Path("recordings.npz"))
    options = parser.parse_args()
    found = (path for folder in options.folders for path in sorted(folder.rglob("*")) if path.suffix in (".wav", ".raw"))
    files = [path for path in found if path.stat().st_size > RATE]
    halves = [sequences(files[start::2], 512 * options.chunks) for start in (1, 0)]
    count = min(map(len, halves))
    audio = encode(np.concatenate([half[:count] for half in halves]))
    np.savez_compressed(options.output, audio=audio)
    print(f"{len(files)} files, {len(audio)} sequences of {options.chunks} chunks: {options.output}")


if __name__ == "__main__":
    main()
