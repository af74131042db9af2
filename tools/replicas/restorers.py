"""Restorers: GFPGAN (clean) and CodeFormer."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

from .builder import LEAKY_SLOPE, GraphBuilder

__all__ = ["codeformer", "gfpgan"]

TORCH_LINEAR = "pytorch_half_pixel"
LATENT = 512
FULL_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64}
SMALL_CHANNELS = {4: 32, 8: 32, 16: 16, 32: 16, 64: 8}


def _resample(b: GraphBuilder, x: str, scale: float) -> str:
    return b.resize(x, scale, "linear", TORCH_LINEAR)


def _residual(b: GraphBuilder, x: str, channels: int, scale: float) -> str:
    y = b.leaky(b.conv(x, b.channels[x]))
    y = b.leaky(b.conv(_resample(b, y, scale), channels, gain=1.0))
    return b.add(y, b.conv(_resample(b, x, scale), channels, 1, bias=False, gain=0.7))


class _Generator:
    """The clean StyleGAN2 of GFPGAN, whose kernels are computed from the latent for every sample."""

    def __init__(self, b: GraphBuilder, latents: str) -> None:
        self._b, self._latents, self._used = b, latents, 0

    def latent(self, index: int) -> str:
        start = LATENT * index
        return self._b.slice(self._latents, start, start + LATENT)

    def modulated(
        self, x: str, latent: str, channels: int, kernel: int, scale: float, side: int, demod: bool
    ) -> str:
        """Scale the kernel by the latent, make it a group of the batch, and convolve."""
        b, count = self._b, self._b.channels[x]
        style = b.reshape(b.gemm(latent, count, gain=0.3, mean=1.0), [1, 1, count, 1, 1])
        std = 1.0 / (count * kernel**2) ** 0.5
        weight = b.mul(b.normal(1, channels, count, kernel, kernel, std=std), style)
        if demod:
            power = b.reduce_sum(b.node("Pow", weight, b.number(2.0)), [2, 3, 4])
            length = b.node("Sqrt", b.add(power, b.number(1e-8)))
            factor = b.reshape(b.node("Reciprocal", length), [1, channels, 1, 1, 1])
            weight = b.mul(weight, factor)
        weight = b.reshape(weight, [channels, count, kernel, kernel])
        if scale != 1:
            x = _resample(b, x, scale)
        x = b.reshape(x, [1, count, side, side], channels=count)
        y = b.node(
            "Conv",
            x,
            weight,
            channels=channels,
            group=1,
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4,
        )
        return b.reshape(y, [1, channels, side, side], channels=channels)

    def styled(self, x: str, latent: str, channels: int, side: int, scale: float = 1) -> str:
        """A modulated convolution with noise, bias and leaky ReLU."""
        b = self._b
        y = self.modulated(x, latent, channels, 3, scale, side, True)
        y = b.mul(y, b.number(2**0.5))
        noise = b.mul(b.normal(1, 1, side, side, std=1.0), b.normal(1, std=0.1))
        y = b.add(b.add(y, noise), b.normal(1, channels, 1, 1, std=0.1))
        return b.leaky(y, LEAKY_SLOPE)

    def picture(self, x: str, latent: str, side: int, before: str | None) -> str:
        """Add this size's share to the picture so far."""
        b = self._b
        y = self.modulated(x, latent, 3, 1, 1, side, False)
        y = b.mul(y, b.number(0.25))
        y = b.add(y, b.normal(1, 3, 1, 1, std=0.05))
        return b.add(y, _resample(b, before, 2)) if before else y

    def run(self, conditions: Mapping[int, tuple[str, str]], channels: Mapping[int, int]) -> str:
        """From a learnt 4 x 4 map to the picture; the target's maps change half of the channels."""
        b = self._b
        x = b.normal(1, channels[4], 4, 4, std=1.0)
        b.channels[x] = channels[4]
        x = self.styled(x, self.latent(0), channels[4], 4)
        image = self.picture(x, self.latent(1), 4, None)
        for index, (side, (factor, shift)) in enumerate(conditions.items()):
            count, half = channels[side], channels[side] // 2
            x = self.styled(x, self.latent(2 * index + 1), count, side, 2)
            moved = b.add(b.mul(b.slice(x, half, count), factor), shift)
            x = b.concat([b.slice(x, 0, half), moved])
            x = self.styled(x, self.latent(2 * index + 2), count, side)
            image = self.picture(x, self.latent(2 * index + 3), side, image)
        return image


def gfpgan(b: GraphBuilder, full: bool) -> None:
    """GFPGAN clean: a U-Net gives the latents and, at every size, factors and shifts."""
    size, channels = (512, FULL_CHANNELS) if full else (64, SMALL_CHANNELS)
    half = {side: count // 2 for side, count in channels.items()}
    x = b.leaky(b.conv(b.input("input", (1, 3, size, size)), half[size], 1, gain=2.0))
    skips, side = {}, size
    while side > 4:
        side //= 2
        x = skips[side] = _residual(b, x, half[side], 0.5)
    x = b.leaky(b.conv(x, half[4]))
    flat = b.node("Flatten", x, axis=1, channels=16 * half[4])
    latents = b.gemm(flat, 2 * len(channels) * LATENT, gain=0.5)
    conditions = {}
    while side < size:
        x = _residual(b, b.add(x, skips[side]), half[2 * side], 2)
        side *= 2
        factor, shift = (
            b.conv(b.leaky(b.conv(x, half[side], gain=0.7)), half[side], gain=0.3, mean=mean)
            for mean in (1.0, 0.0)
        )
        conditions[side] = factor, shift
    b.output(_Generator(b, latents).run(conditions, channels), "output", (1, 3, size, size))


def _norm_silu_conv(b: GraphBuilder, x: str, channels: int, side: int, gain: float = 1.7) -> str:
    return b.conv(b.silu(b.group_norm(x, 4, side)), channels, gain=gain)


def _vq_residual(b: GraphBuilder, x: str, channels: int, side: int) -> str:
    y = _norm_silu_conv(b, _norm_silu_conv(b, x, channels, side), channels, side, 0.8)
    if channels != b.channels[x]:
        x = b.conv(x, channels, 1, gain=1.0)
    return b.add(x, y)


def _attention(b: GraphBuilder, x: str, tokens: int, heads: int) -> str:
    """PyTorch's multi-head attention on (tokens, 1, channels), with the batch baked into shapes."""
    count = b.channels[x]
    each = count // heads
    split = []
    for _ in range(3):
        y = b.reshape(b.linear(x, count, gain=1.5), [tokens, heads, each])
        split.append(b.node("Transpose", y, perm=[1, 0, 2]))
    query, key, value = split
    query = b.mul(query, b.number(each**-0.5))
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 1]))
    y = b.node("MatMul", b.node("Softmax", scores, axis=-1), value)
    y = b.node("Transpose", y, perm=[1, 0, 2])
    return b.linear(b.reshape(y, [tokens, 1, count], channels=count), count, gain=1.0)


def _statistics(b: GraphBuilder, x: str) -> tuple[str, str]:
    """(mean, standard deviation) of each channel, over rows and columns."""
    mean = b.mean_2d(x)
    centred = b.node("Sub", x, mean)
    variance = b.mean_2d(b.mul(centred, centred))
    return mean, b.node("Sqrt", b.add(variance, b.number(1e-5)))


def codeformer(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """CodeFormer: a transformer chooses entries of a codebook; ``weight`` is a float64 of 0 to 1."""
    size, width, entries, layers = 64, 16, 64, 2
    image = b.input("input", (1, 3, size, size))
    weight = b.input("weight", (1,), TensorProto.DOUBLE)
    x, side, kept = b.conv(image, width, gain=2.0), size, []
    for channels in (width, 2 * width, 2 * width):
        x = _vq_residual(b, x, channels, side)
        kept.append(x)
        x, side = b.conv(x, channels, stride=2, gain=1.0), side // 2
    low = x = _vq_residual(b, x, 2 * width, side)
    count, tokens = 2 * width, side * side

    y = b.node("Transpose", b.reshape(x, [1, count, tokens]), perm=[2, 0, 1], channels=count)
    y = b.add(b.linear(y, 2 * count), b.normal(tokens, 1, 2 * count, std=0.5))
    for _ in range(layers):
        y = b.add(y, _attention(b, b.layer_norm(y), tokens, 4))
        y = b.add(y, b.linear(b.gelu(b.linear(b.layer_norm(y), 4 * count)), 2 * count))
    logits = b.node("MatMul", b.layer_norm(y), b.normal(2 * count, entries, std=0.3))
    chances = b.node("Softmax", b.node("Transpose", logits, perm=[1, 0, 2]), axis=2)
    best = b.node("ArgMax", chances, axis=2, keepdims=0)
    codes = b.node("Gather", b.normal(entries, count, std=1.0), best, axis=0)
    codes = b.reshape(codes, [1, side, side, count])
    x = b.node("Transpose", codes, perm=[0, 3, 1, 2], channels=count)

    (mean, spread), (low_mean, low_spread) = _statistics(b, x), _statistics(b, low)
    x = b.node("Div", b.node("Sub", x, mean), spread)
    x = b.add(b.mul(x, low_spread), low_mean)
    fidelity = b.node("Cast", weight, to=TensorProto.FLOAT)
    for skip in kept[::-1]:
        side *= 2
        x = _vq_residual(
            b, b.conv(b.resize(x, 2), b.channels[skip], gain=1.0), b.channels[skip], side
        )
        both = _vq_residual(b, b.concat([skip, x]), b.channels[skip], side)
        factor, shift = (
            b.conv(b.leaky(b.conv(both, b.channels[skip])), b.channels[skip], gain=0.3)
            for _ in range(2)
        )
        change = b.add(b.mul(x, factor), shift)
        x = b.add(x, b.mul(change, fidelity))
    b.output(_norm_silu_conv(b, x, 3, side, 0.6), "output", (1, 3, size, size))
