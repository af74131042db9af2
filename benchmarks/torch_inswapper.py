"""The inswapper_128 generator in PyTorch, with random weights, and a worker that times it.

Layer by layer the same as the full replica of tools.replicas, so the arithmetic is the same: 349 GFLOP
a face. It needs nothing but PyTorch, because it runs in whatever interpreter has that:

    PYTHON -m benchmarks.torch_inswapper --precision fp16 --channels-last
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of the project
from torch import Tensor, nn

from benchmarks.worker import serve

__all__ = ["Generator", "TorchRunner", "main"]

EMBEDDING = 512
SLOPE = 0.2
STYLE_GAIN = 16.0  # the embedding has length one; this is the spread of factors and shifts


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1, pad: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels, kernel, stride, pad)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(layer.bias, std=0.02)
    return layer


class _AdaIN(nn.Module):
    """Normalise each channel of a map, then factor and shift from the embedding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.style = nn.Linear(EMBEDDING, 2 * channels)
        nn.init.normal_(self.style.weight, std=STYLE_GAIN / math.sqrt(EMBEDDING))

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)
        y = centred * (1.0 / torch.sqrt(variance + 1e-8))
        factor, shift = self.style(source)[:, :, None, None].chunk(2, 1)
        return y * factor + shift


class _Block(nn.Module):
    """Two convolutions with AdaIN around a straight path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)
        self.adain_first, self.adain_second = _AdaIN(channels), _AdaIN(channels)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        y = self.first(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"))
        y = nn.functional.relu(self.adain_first(y, source))
        y = self.second(nn.functional.pad(y, (1, 1, 1, 1), mode="reflect"))
        return x + self.adain_second(y, source)


class Generator(nn.Module):
    """inswapper_128.

    Args:
        width: channels of the first layer; 128 in the published net.
        blocks: in the middle; 6 in the published net.
    """

    def __init__(self, width: int = 128, blocks: int = 6) -> None:
        super().__init__()
        self.first = _conv(3, width, 7)
        self.down = nn.ModuleList(
            [
                _conv(width, 2 * width, 3, 1, 1),
                _conv(2 * width, 4 * width, 3, 2, 1),
                _conv(4 * width, 8 * width, 3, 2, 1),
            ]
        )
        self.middle = nn.ModuleList([_Block(8 * width) for _ in range(blocks)])
        self.up = nn.ModuleList(
            [_conv(8 * width, 4 * width, 3, 1, 1), _conv(4 * width, 2 * width, 3, 1, 1)]
        )
        self.narrow = _conv(2 * width, width, 3, 1, 1)
        self.last = _conv(width, 3, 7)
        nn.init.normal_(self.last.weight, std=0.35 / math.sqrt(49 * width))

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Swap.

        Args:
            target: (N, 3, H, W), H and W multiples of 4.
            source: (N, 512), each row of length one.

        Returns:
            (N, 3, H, W), 0 to 1.
        """
        x = nn.functional.leaky_relu(
            self.first(nn.functional.pad(target, (3, 3, 3, 3), mode="reflect")), SLOPE
        )
        for layer in self.down:
            x = nn.functional.leaky_relu(layer(x), SLOPE)
        for block in self.middle:
            x = block(x, source)
        for layer in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = nn.functional.leaky_relu(layer(x), SLOPE)
        x = nn.functional.leaky_relu(self.narrow(x), SLOPE)
        x = torch.tanh(self.last(nn.functional.pad(x, (3, 3, 3, 3), mode="reflect")))
        return (x + 1.0) / 2.0


class TorchRunner:
    """The generator on the first GPU; fulfils `benchmarks.worker.Runner`.

    Args:
        half: FP16 instead of FP32 without TF32.
        channels_last: order of memory of maps and kernels.
    """

    def __init__(self, *, half: bool, channels_last: bool) -> None:
        self._dtype = torch.float16 if half else torch.float32
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._feeds: dict[int, tuple[Tensor, Tensor]] = {}

    def open(self, batches: list[int]) -> dict[str, Any]:
        """See `benchmarks.worker.Runner`; memory counts what PyTorch keeps for later, too."""
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # tries the algorithms and keeps the fastest
        torch.manual_seed(0)
        torch.zeros(1, device="cuda")  # the context is not part of the net's memory
        before = torch.cuda.mem_get_info()[0]
        start = time.perf_counter()
        self._net = Generator().eval().to("cuda", self._dtype, memory_format=self._format)
        for batch in batches:
            target = torch.rand(batch, 3, 128, 128, device="cuda").to(self._dtype)
            source = nn.functional.normalize(torch.randn(batch, EMBEDDING, device="cuda")).to(
                self._dtype
            )
            self._feeds[batch] = target.to(memory_format=self._format), source
            with torch.inference_mode():
                output = self._net(*self._feeds[batch])
            if not torch.isfinite(output).all():
                raise RuntimeError(f"batch {batch} gave values that are not finite")
        torch.cuda.synchronize()
        cudnn = torch.backends.cudnn.version()
        return {
            "device": torch.cuda.get_device_name(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "cudnn": str(cudnn),
            },
            "load_s": None,
            "ready_s": time.perf_counter() - start,
            "memory_bytes": before - torch.cuda.mem_get_info()[0],
        }

    def run(self, batch: int, iterations: int) -> float:
        """See `benchmarks.worker.Runner`."""
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.inference_mode():
            first.record()
            for _ in range(iterations):
                self._net(*self._feeds[batch])
            last.record()
        last.synchronize()
        return float(first.elapsed_time(last))


def main() -> int:
    """Serve until the parent closes our standard input."""
    parser = argparse.ArgumentParser(description="Times inswapper_128 in PyTorch; see worker.py.")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    serve(TorchRunner(half=args.precision == "fp16", channels_last=args.channels_last))
    return 0


if __name__ == "__main__":
    sys.exit(main())
