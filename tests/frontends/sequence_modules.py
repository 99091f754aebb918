"""Cells and blocks of sequence networks as a user of PyTorch writes them, with attention and normalisation inside."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

__all__ = ["MODULES"]

WIDTH, LENGTH = 8, 5


class Unrolled(nn.Module):
    """A cell `step(x, *states)`, whose first state is its output, over the elements of x [N, T, width]."""

    states = 1

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x[:, 0]),) * self.states

    def forward(self, x: Tensor) -> Tensor:
        states, found = self.start(x), []
        for element in x.unbind(1):
            states = self.step(element, *states)
            found.append(states[0])
        return torch.stack(found, 1)


class NormalisedLstm(Unrolled):
    """LSTM whose gates and cell state are normalised (Ba, Kiros and Hinton, arXiv:1607.06450)."""

    states = 2

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.back = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.of_x, self.of_h, self.of_c = nn.LayerNorm(4 * WIDTH), nn.LayerNorm(4 * WIDTH), nn.LayerNorm(WIDTH)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = (self.of_x(self.inward(x)) + self.of_h(self.back(h))).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * self.of_c(c).tanh(), c


class NormalisedGru(Unrolled):
    """GRU whose gates are normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.back = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.of_x, self.of_h = nn.LayerNorm(3 * WIDTH), nn.LayerNorm(3 * WIDTH)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        (rx, zx, nx), (rh, zh, nh) = self.of_x(self.inward(x)).chunk(3, 1), self.of_h(self.back(h)).chunk(3, 1)
        z = (zx + zh).sigmoid()
        return ((1 - z) * (nx + (rx + rh).sigmoid() * nh).tanh() + z * h,)


class SimpleRecurrentUnit(Unrolled):
    """SRU (Lei et al., arXiv:1709.02755): all matrices before the recurrence."""

    states = 2

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, 3 * WIDTH)
        self.forget, self.reset = (nn.Parameter(torch.randn(WIDTH) * 0.5) for _ in range(2))

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        c = states[1]
        w, f, r = self.inward(x).chunk(3, 1)
        forget, reset = (f + self.forget * c).sigmoid(), (r + self.reset * c).sigmoid()
        c = forget * c + (1 - forget) * w
        return reset * c + (1 - reset) * x, c


class MinimalGatedUnit(Unrolled):
    """MGU (Zhou et al., arXiv:1603.09420): one gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.candidate = (nn.Linear(2 * WIDTH, WIDTH) for _ in range(2))

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        f = self.gate(torch.cat([x, h], 1)).sigmoid()
        return ((1 - f) * h + f * self.candidate(torch.cat([x, f * h], 1)).tanh(),)


class QuasiRecurrent(Unrolled):
    """QRNN (Bradbury et al., arXiv:1611.01576): gates by convolution in time, and fo-pooling."""

    states = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, 3 * WIDTH, 2)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        z, f, o = x.chunk(3, 1)
        c = f.sigmoid() * states[1] + (1 - f.sigmoid()) * z.tanh()
        return o.sigmoid() * c, c

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x[:, 0, :WIDTH]),) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(F.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2))


class DiagonalStateSpace(Unrolled):
    """S4D with real poles (Gu et al., arXiv:2206.11893), and a position-wise output."""

    states = 2
    poles = 4

    def __init__(self) -> None:
        super().__init__()
        self.pole = nn.Parameter(torch.linspace(0.3, 0.9, self.poles).repeat(WIDTH, 1))
        self.inward, self.outward = (nn.Parameter(torch.randn(WIDTH, self.poles) * 0.5) for _ in range(2))
        self.direct, self.mix = nn.Parameter(torch.randn(WIDTH)), nn.Linear(WIDTH, WIDTH)

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]).unsqueeze(-1).repeat(1, 1, self.poles)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        state = self.pole * states[1] + self.inward * x.unsqueeze(-1)
        return (state * self.outward).sum(-1) + self.direct * x, state

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.mix(F.gelu(super().forward(x)))
        return result


class LinearRecurrentUnit(Unrolled):
    """LRU (Orvieto et al., arXiv:2303.06349): complex poles, real and imaginary part side by side."""

    states = 3

    def __init__(self) -> None:
        super().__init__()
        radius, angle = torch.linspace(0.5, 0.9, WIDTH), torch.linspace(0.1, 1.5, WIDTH)
        self.real, self.imaginary = nn.Parameter(radius * angle.cos()), nn.Parameter(radius * angle.sin())
        self.inward, self.outward = nn.Linear(WIDTH, 2 * WIDTH, bias=False), nn.Linear(2 * WIDTH, WIDTH)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        _, a, b = states
        u, v = self.inward(x).chunk(2, 1)
        a, b = self.real * a - self.imaginary * b + u, self.imaginary * a + self.real * b + v
        return self.outward(torch.cat([a, b], 1)), a, b


class ExponentialGates(Unrolled):
    """sLSTM of xLSTM (Beck et al., arXiv:2405.04517): exponential gates, a normaliser and a stabiliser."""

    states = 4

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.back = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(WIDTH, 4 * WIDTH, bias=False)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c, n, m = states
        i, f, z, o = (self.inward(x) + 0.5 * self.back(h)).chunk(4, 1)
        forget = F.logsigmoid(f) + m
        most = torch.maximum(forget, i)
        i, f = (i - most).exp(), (forget - most).exp()
        c, n = f * c + i * z.tanh(), f * n + i
        return o.sigmoid() * c / n, c, n, most


class ConvLstm(Unrolled):
    """ConvLSTM (Shi et al., arXiv:1506.04214) over pictures [N, T, 2, 4, 4]."""

    states = 2

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(4, 8, 3, padding=1)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class RelativeAttention(nn.Module):
    """Self-attention with relative positions (Dai et al., arXiv:1901.02860), as Conformer has it."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.size = heads, WIDTH // heads
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.place = nn.Linear(WIDTH, WIDTH, bias=False)
        self.content_bias, self.place_bias = (nn.Parameter(torch.randn(heads, 1, self.size) * 0.3) for _ in range(2))
        self.register_buffer("places", torch.randn(2 * LENGTH - 1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        count, length, _ = x.shape
        q, k, v = (part.view(count, length, self.heads, self.size).transpose(1, 2) for part in self.project(x).chunk(3, 2))
        places = self.place(self.places).view(2 * LENGTH - 1, self.heads, self.size).transpose(0, 1)
        content, relative = (q + self.content_bias) @ k.transpose(2, 3), (q + self.place_bias) @ places.transpose(1, 2)
        relative = F.pad(relative, (1, 0)).view(count, self.heads, 2 * LENGTH, length)[:, :, 1:]
        relative = relative.reshape(count, self.heads, length, 2 * LENGTH - 1)[..., :length]
        found = ((content + relative) / self.size**0.5).softmax(-1) @ v
        result: Tensor = self.out(found.transpose(1, 2).reshape(count, length, WIDTH))
        return result


class FeedForward(nn.Sequential):
    """Conformer's feed-forward module."""

    def __init__(self) -> None:
        super().__init__(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.SiLU(), nn.Linear(2 * WIDTH, WIDTH))


class ConvolutionModule(nn.Module):
    """Conformer's convolution module: GLU, a depthwise convolution, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.last = nn.LayerNorm(WIDTH), nn.Conv1d(WIDTH, 2 * WIDTH, 1), nn.Conv1d(WIDTH, WIDTH, 1)
        self.depthwise, self.batch_norm = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH), nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.first(self.norm(x).transpose(1, 2)), 1)
        result: Tensor = self.last(F.silu(self.batch_norm(self.depthwise(x)))).transpose(1, 2)
        return result


class Conformer(nn.Module):
    """One Conformer block (Gulati et al., arXiv:2005.08100)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.convolution, self.attention = (
            FeedForward(),
            FeedForward(),
            ConvolutionModule(),
            RelativeAttention(),
        )
        self.norm, self.closing = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        x = x + self.attention(self.norm(x))
        x = x + self.convolution(x)
        result: Tensor = self.head(self.closing(x + 0.5 * self.last(x)))
        return result


class SqueezeExcitation(nn.Module):
    """A residual block with squeeze and excitation (Hu et al., arXiv:1709.01507) over pictures [N, 4, 6, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.norm_first, self.norm_second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.squeeze, self.excite, self.head = nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_second(self.second(self.norm_first(self.first(x)).relu()))
        scale = self.excite(self.squeeze(y.mean((2, 3))).relu()).sigmoid()
        result: Tensor = self.head((x + y * scale[:, :, None, None]).relu().mean((2, 3)))
        return result


class Transformer(nn.Module):
    """Two layers of PyTorch's encoder, post-norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, 0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.encoder(x))
        return result


class GatedConvolutions(nn.Module):
    """Gated convolutions (Dauphin et al., arXiv:1612.08083) with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv1d(WIDTH, 2 * WIDTH, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(self.first(x.transpose(1, 2)), 1)
        result: Tensor = self.head((y + F.glu(self.second(y), 1)).transpose(1, 2))
        return result


class AttentionDecoder(nn.Module):
    """A GRU that decodes three elements from attention (Bahdanau et al., arXiv:1409.0473) over an encoder's states."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.cell = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.GRUCell(WIDTH, WIDTH)
        self.of_state, self.of_memory, self.score = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
        self.head = nn.Linear(2 * WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        memory, last = self.encoder(x)
        keys, state, found = self.of_memory(memory), last[0], []
        for _ in range(3):
            weights = self.score((keys + self.of_state(state).unsqueeze(1)).tanh()).softmax(1)
            context = (weights * memory).sum(1)
            state = self.cell(context, state)
            found.append(self.head(torch.cat([state, context], 1)))
        return torch.stack(found, 1)


_SEQUENCE = (LENGTH, WIDTH)
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conformer": (Conformer, _SEQUENCE),
    "normalised lstm": (NormalisedLstm, _SEQUENCE),
    "normalised gru": (NormalisedGru, _SEQUENCE),
    "squeeze and excitation": (SqueezeExcitation, (4, 6, 6)),
    "transformer": (Transformer, _SEQUENCE),
    "gated convolutions": (GatedConvolutions, _SEQUENCE),
    "sru": (SimpleRecurrentUnit, _SEQUENCE),
    "mgu": (MinimalGatedUnit, _SEQUENCE),
    "qrnn": (QuasiRecurrent, _SEQUENCE),
    "s4d": (DiagonalStateSpace, _SEQUENCE),
    "lru": (LinearRecurrentUnit, _SEQUENCE),
    "slstm": (ExponentialGates, _SEQUENCE),
    "convlstm": (ConvLstm, (LENGTH, 2, 4, 4)),
    "attention decoder": (AttentionDecoder, _SEQUENCE),
}
"""Each module, and the shape of one sample."""
