"""Train the CRNN of the demo on scikit-learn's handwritten digits, and export it to ONNX.

    python examples/digits/train.py [--output snnir/data] [--epochs 300] [--seed 0]

An 8x8 image is read as a sequence of 8 rows of 8 pixels: x[N, row, pixel], 0 to 1. A Conv1d over the rows with batch norm
and ReLU, an IndRNN layer (h_k = relu(W x_k + u * h_{k-1} + b), arXiv:1803.04831), and a linear layer on its last state.
A third of the digits, drawn once with a fixed seed and evenly over the classes, is held out: nothing is chosen by it.

Writes digits-crnn.onnx (the IndRNN as an ONNX RNN node with a diagonal R) and digits.npz (`calibration` inputs from the
training part, held-out `test` inputs and their `labels`), and prints the accuracy of the ONNX file in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

CHANNELS, HIDDEN, CLASSES = 48, 96, 10


class DigitsCrnn(nn.Module):
    """Conv1d, batch norm, ReLU, IndRNN, linear; x[N, 8, 8] to logits[N, 10]."""

    def __init__(self) -> None:
        """Random weights; recurrent weights start between 0 and 1, as the IndRNN paper proposes for ReLU."""
        super().__init__()
        self.conv = nn.Conv1d(8, CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.feed = nn.Linear(CHANNELS, HIDDEN)
        self.recurrent = nn.Parameter(torch.rand(HIDDEN))
        self.head = nn.Linear(HIDDEN, CLASSES)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits after the last row."""
        rows = torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        feed = self.feed(self.dropout(rows))
        state = torch.zeros(len(x), HIDDEN)
        for k in range(feed.shape[1]):
            state = torch.relu(feed[:, k] + self.recurrent * state)
        return self.head(self.dropout(state))


def train(x: np.ndarray, labels: np.ndarray, epochs: int) -> DigitsCrnn:
    """AdamW with a one-cycle schedule; half of the digits shifted by up to a pixel, all with a little noise."""
    model = DigitsCrnn()
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=2e-2)
    batch = 64
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(x)).split(batch):
            images = shifted(inputs[chosen])
            images = (images + 0.05 * torch.randn_like(images)).clamp(0, 1)
            loss = loss_of(model(images), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.recurrent.clamp_(-1.05, 1.05)  # |u| <= 2^(1/T), the paper's bound for T steps, rounded down
            total += loss.item() * len(chosen)
        if (epoch + 1) % 20 == 0:
            print(f"epoch {epoch + 1:3} of {epochs}: loss {total / len(x):.4f}", flush=True)
    return model.eval()


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Half of the images moved by -1, 0 or 1 pixel along both axes, zeros coming in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    moved = torch.rand(len(images), 1, 1) < 0.5
    down, right = (torch.where(moved, torch.randint(0, 3, (len(images), 1, 1)), 1) for _ in range(2))
    rows, columns = torch.arange(8).view(1, 8, 1) + down, torch.arange(8).view(1, 1, 8) + right
    return padded[torch.arange(len(images)).view(-1, 1, 1), rows, columns]


def export(model: DigitsCrnn) -> onnx.ModelProto:
    """The model in ONNX: the IndRNN is an RNN node with a diagonal recurrence matrix."""
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    weights = {
        "conv.weight": state["conv.weight"],
        "conv.bias": state["conv.bias"],
        "norm.scale": state["norm.weight"],
        "norm.bias": state["norm.bias"],
        "norm.mean": state["norm.running_mean"],
        "norm.var": state["norm.running_var"],
        "rnn.W": state["feed.weight"][None],
        "rnn.R": np.diag(state["recurrent"])[None],
        "rnn.B": np.concatenate([state["feed.bias"], np.zeros(HIDDEN, np.float32)])[None],
        "head.weight": state["head.weight"],
        "head.bias": state["head.bias"],
        "axis0": np.array([0]),
    }
    norm = ["norm.scale", "norm.bias", "norm.mean", "norm.var"]
    nodes = [
        helper.make_node("Transpose", ["image"], ["pixels_first"], name="pixels_first", perm=[0, 2, 1]),
        helper.make_node("Conv", ["pixels_first", "conv.weight", "conv.bias"], ["conv"], name="conv", pads=[1, 1]),
        helper.make_node("BatchNormalization", ["conv", *norm], ["norm"], name="norm", epsilon=model.norm.eps),
        helper.make_node("Relu", ["norm"], ["rows"], name="relu"),
        helper.make_node("Transpose", ["rows"], ["time_major"], name="time_major", perm=[2, 0, 1]),
        helper.make_node(
            "RNN",
            ["time_major", "rnn.W", "rnn.R", "rnn.B"],
            ["", "last"],
            name="indrnn",
            hidden_size=HIDDEN,
            activations=["Relu"],
        ),
        helper.make_node("Squeeze", ["last", "axis0"], ["state"], name="squeeze"),
        helper.make_node("Gemm", ["state", "head.weight", "head.bias"], ["logits"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits-crnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="snnir-examples")
    onnx.checker.check_model(result, full_check=True)
    return result


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def main() -> None:
    """Train, export, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "snnir" / "data")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)  # the tensors are small, and one thread gives the same sums on every machine size
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    x, test, labels, answers = train_test_split(
        images, digits.target.astype(np.int64), test_size=1 / 3, random_state=2408, stratify=digits.target
    )
    content = export(train(x, labels, arguments.epochs)).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    accuracy = float((session.run(None, {"image": test})[0].argmax(1) == answers).mean())
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "digits-crnn.onnx", content)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, calibration=x[:400], test=test, labels=answers)
    write(arguments.output / "digits.npz", buffer.getvalue())
    print(f"{len(x)} digits for training, {len(test)} held out; {len(content):,} bytes of ONNX")
    print(f"accuracy in ONNX Runtime on the held-out digits: {100 * accuracy:.2f} %")


if __name__ == "__main__":
    main()
