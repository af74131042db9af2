"""Sessions that answer as the test says, and specifications of published nets, for the new stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ffswap.carriers import F32
from ffswap.engines import Binding, Session, TensorSpec
from ffswap.models.spec import ImageInput, ModelSpec

FLOAT = np.dtype(np.float32)


class FakeNet(Session):
    """A net of one input.

    Args:
        answer: of one row of the input, its outputs without a batch axis.
        rows: what the file says of the batch; 1: more are refused.
        batched: the outputs have a batch axis; else only one row can be asked for.
        outputs: their names.
    """

    def __init__(
        self,
        answer: Callable[[F32], Sequence[F32]],
        *,
        rows: int = -1,
        batched: bool = True,
        outputs: Sequence[str] = ("first", "second"),
    ) -> None:
        self._answer, self._rows, self._batched = answer, rows, batched
        self._outputs = tuple(outputs)
        self.batches: list[int] = []
        self.feeds: list[F32] = []

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return {"input": TensorSpec("input", FLOAT, (self._rows, -1, -1, -1))}

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return {name: TensorSpec(name, FLOAT, (-1,)) for name in self._outputs}

    @property
    def buckets(self) -> tuple[int, ...]:
        return ()

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def runtime(self) -> str:
        return "fake"

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = feeds["input"]
        assert rows.dtype == np.float32
        assert self._rows in (-1, len(rows))
        self.batches.append(len(rows))
        self.feeds += list(rows)
        answers = [self._answer(row) for row in rows]
        if self._batched:
            columns = [np.stack(column) for column in zip(*answers, strict=True)]
        else:
            (only,) = answers
            columns = list(only)
        return dict(zip(self._outputs, columns, strict=False))

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> Binding:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __enter__(self) -> FakeNet:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def spec_of(
    kind: Literal["detector", "landmarker"],
    family: str,
    *,
    size: tuple[int, int] | None = None,
    mean: float = 0.0,
    std: float = 255.0,
    outputs: tuple[str, ...] = (),
) -> ModelSpec:
    """A net that takes pictures in blue, green, red; or none, if it has no size."""
    image = None
    if size is not None:
        image = ImageInput(
            name="input", layout="nchw", size=size, colour="bgr",
            mean=(mean, mean, mean), std=(std, std, std),
        )  # fmt: skip
    return ModelSpec(
        name=f"a_{family}", kind=kind, family=family, file="net.onnx", licence="none", terms="open",
        vendor="nobody", image=image, outputs=outputs,
        template="ffhq_512" if family == "fan_points" else None,
    )  # fmt: skip
