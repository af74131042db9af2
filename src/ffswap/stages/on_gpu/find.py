"""Detectors and landmarkers whose pictures, nets and decoding stay in device memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32, I64, FrameBatch
from ...closing import Closing
from ...errors import InternalError, ModelError
from ...geometry.boxes import Detections
from ...geometry.landmarks import decode_fan_peaks, decode_peppa_wutz
from ...gpu import DeviceArray, PinnedArray
from ...models import ModelSpec
from ...ops.contrast import lift_dark
from ...ops.cuda import CropReader, DeviceFrames, NetForm
from ...ops.cuda.contrast import Darkness, dark_crops
from ...ops.cuda.detect import VALUES, HeadDecoder, detections_of
from ...ops.cuda.landmarks import HeatmapPeaks
from ...options import DetectOptions
from ..feed import picture_input
from ..landmark import CropLandmarker
from ..net_detect import Shot, TurningDetector
from .lane import DeviceNet, Lane

__all__ = ["DeviceDetector", "DeviceLandmarker", "on_device"]

Matrices = Sequence[NDArray[np.float64]]


def on_device(frames: FrameBatch) -> DeviceFrames:
    """The same frames.

    Raises:
        InternalError: they are not in device memory.
    """
    if not isinstance(frames, DeviceFrames):
        raise InternalError(f"{frames!r} are not on a device")
    return frames


class _Answer:
    """An array on the device and its copy in pinned memory, for results of a few kilobytes."""

    def __init__(self, lane: Lane, shape: tuple[int, ...], dtype: type, stack: ExitStack) -> None:
        self.device: DeviceArray = lane.device.empty(shape, dtype)
        stack.callback(self.device.close)
        self._host = stack.enter_context(PinnedArray(shape, dtype))
        self._lane = lane

    def fetch(self, n: int) -> NDArray[np.generic]:
        """Start to copy the first n rows; they are here when the lane has come this far."""
        rows = self._host.array[:n]
        self.device.rows(0, n).copy_to(rows, self._lane.stream)
        return rows


class DeviceDetector(TurningDetector, Closing):
    """A detector on a GPU; see `TurningDetector`. Used by the thread of its lane.

    Args:
        net: on the lane.
        lane: where it works.
        spec: what the net wants and gives.
        options: thresholds.
        angles: degrees by which the picture is turned.
    """

    def __init__(
        self,
        net: DeviceNet,
        lane: Lane,
        spec: ModelSpec,
        options: DetectOptions,
        angles: Sequence[int] = (0,),
    ) -> None:
        super().__init__(spec, options, angles)
        self._net, self._lane = net, lane
        self._names = spec.outputs or tuple(net.outputs)
        self._reader, self._form = CropReader(lane.programs), NetForm.of(spec.picture)
        tensors = [net.outputs[name] for name in self._names]
        candidates = tensors[0].shape[-1] if spec.family == "yolo_face" else None
        self._decode = HeadDecoder(
            lane.programs, spec.family, self._size, self._score, self._iou, candidates=candidates
        )
        with ExitStack() as stack:
            n, faces = net.most, self._decode.faces
            self._counts = _Answer(lane, (n,), np.int32, stack)
            self._rows = _Answer(lane, (n, faces, VALUES), np.float32, stack)
            self._scratch = lane.device.empty((self._decode.scratch_bytes(n),), np.uint8)
            stack.callback(self._scratch.close)
            self._stack = stack.pop_all()

    def _search(self, frames: FrameBatch, shots: Sequence[Shot]) -> list[Detections]:
        here = on_device(frames)
        self._lane.begin(here)
        found: list[Detections] = []
        for start in range(0, len(shots), self._net.most):
            found += self._some(here, shots[start : start + self._net.most])
        return found

    def _some(self, frames: DeviceFrames, shots: Sequence[Shot]) -> list[Detections]:
        n, net, stream = len(shots), self._net, self._lane.stream
        self._reader(
            frames,
            np.array([shot.frame for shot in shots], np.int64),
            np.stack([shot.read for shot in shots]),
            net.inputs[self._spec.picture.name].rows(0, n),
            self._form,
            stream,
            windows=np.array([shot.size for shot in shots], np.int64),
        )
        net.run(n)
        tensors = [net.outputs[name] for name in self._names]
        self._decode(tensors, n, self._counts.device, self._rows.device, self._scratch, stream)
        counts, rows = self._counts.fetch(n), self._rows.fetch(n)
        self._lane.finish()
        return detections_of(np.asarray(counts, np.int32), np.asarray(rows, np.float32))

    def close(self) -> None:
        """Free its memory; closing twice is allowed."""
        self._stack.close()


class DeviceLandmarker(CropLandmarker, Closing):
    """A landmarker on a GPU; see `CropLandmarker`. Used by the thread of its lane.

    Args:
        net: on the lane.
        lane: where it works.
        spec: what the net wants and gives.
    """

    def __init__(self, net: DeviceNet, lane: Lane, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._net, self._lane = net, lane
        names = spec.outputs or tuple(net.outputs)
        reads = 2 if spec.family == "fan_heatmap" else 1
        if len(names) < reads:
            raise ModelError(
                f"the landmark net gives {len(names)} tensors; allowed: {reads} or more",
                hint="check that the file is the one that the catalogue names",
            )
        self._points, self._maps = net.outputs[names[0]], None
        self._reader, self._form = CropReader(lane.programs), NetForm.of(spec.picture)
        self._darkness = Darkness(lane.programs)
        with ExitStack() as stack:
            shape = (net.most, 3, self._size, self._size)
            self._plain = lane.device.empty(shape, np.float32)
            stack.callback(self._plain.close)
            self._light = _Answer(lane, (net.most,), np.float32, stack)
            kind = self._points.dtype.type
            self._answer = stack.enter_context(PinnedArray(self._points.shape, kind))
            if reads == 2:
                self._maps, self._find_peaks = net.outputs[names[1]], HeatmapPeaks(lane.programs)
                self._peaks = _Answer(lane, (net.most, 68), np.float32, stack)
            self._stack = stack.pop_all()

    def _look(self, frames: FrameBatch, frame: I64, matrices: Matrices) -> tuple[F32, F32]:
        here, table = on_device(frames), np.stack(matrices)
        self._lane.begin(here)
        parts = [
            self._some(here, frame[start : start + self._net.most],
                       table[start : start + self._net.most])
            for start in range(0, len(frame), self._net.most)
        ]  # fmt: skip
        return (
            np.concatenate([points for points, _ in parts]),
            np.concatenate([score for _, score in parts]),
        )

    def _some(
        self, frames: DeviceFrames, where: I64, matrices: NDArray[np.float64]
    ) -> tuple[F32, F32]:
        n, stream = len(where), self._lane.stream
        given = self._net.inputs[self._spec.picture.name]
        plain = self._plain.rows(0, n)
        self._reader(frames, where, matrices, plain, NetForm(), stream, pad_black=True)
        self._darkness(plain, n, self._light.device, stream)
        light = self._light.fetch(n)
        self._reader(frames, where, matrices, given.rows(0, n), self._form, stream, pad_black=True)
        answer = self._run(n)
        if dark := dark_crops(np.asarray(light, np.float32)):
            self._lift(dark)
            answer = self._run(n)
        return answer

    def _run(self, n: int) -> tuple[F32, F32]:
        """The net's answer for its first n rows, in pixels of the crops; waits for it."""
        stream = self._lane.stream
        self._net.run(n)
        points = self._answer.array[:n]
        self._points.rows(0, n).copy_to(points, stream)
        if self._maps is None:
            self._lane.finish()
            return decode_peppa_wutz(points.astype(np.float32), self._size)
        self._find_peaks(self._maps, n, self._peaks.device, stream)
        peaks = self._peaks.fetch(n)
        self._lane.finish()
        return decode_fan_peaks(
            points.astype(np.float32), np.asarray(peaks, np.float32), self._size
        )

    def _lift(self, rows: Sequence[int]) -> None:
        """Give dark crops more contrast, on the host: they are rare, and the procedure is long."""
        given = self._net.inputs[self._spec.picture.name]
        for row in rows:
            crop = np.empty(self._plain.shape[1:], np.float32)
            self._plain.rows(row, row + 1).copy_to(crop[np.newaxis], self._lane.stream)
            self._lane.finish()
            picture = picture_input([lift_dark(crop)], self._spec.picture).astype(given.dtype)
            given.rows(row, row + 1).copy_from(picture, self._lane.stream)
            self._lane.finish()

    def close(self) -> None:
        """Free its memory; closing twice is allowed."""
        self._stack.close()
