"""Painting faces on a GPU: crops, net and paste without a way through the host."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from ...carriers import F32, FrameBatch
from ...closing import Closing
from ...errors import InternalError
from ...gpu import DeviceArray, PinnedArray
from ...models import ModelSpec
from ...ops.cuda import CropReader, DeviceFrames, NetForm, Paster, Soundness
from ..brush import landmarks_of, without_covers
from ..masks import FaceMasks
from ..net_paint import Group
from .find import on_device
from .lane import DeviceNet, Lane

__all__ = ["DeviceBrush"]


class _Hand(Closing):
    """What one lane paints with.

    Args:
        net: on the lane.
        lane: a stream.
        spec: what the net wants and gives.
        boost: side of the crop by that of the net.
        sources: further inputs by name, one row per person.
    """

    def __init__(
        self, net: DeviceNet, lane: Lane, spec: ModelSpec, boost: int, sources: Mapping[str, F32]
    ) -> None:
        self.net, self.lane = net, lane
        side, most = spec.size * boost, max(1, net.most // boost**2)
        self.most = most
        """Faces at a time; a face whose tiles are more than the net takes goes in parts."""
        tiles = most * boost**2
        self.reader, self.paster = CropReader(lane.programs), Paster(lane.programs)
        self.soundness = Soundness(lane.programs)
        with ExitStack() as stack:
            picture = spec.picture.name
            self.tiles: DeviceArray | None = None
            self.made: DeviceArray | None = None
            if tiles > net.most:
                given, made = net.inputs[picture], next(iter(net.outputs.values()))
                self.tiles = lane.device.empty((tiles, *given.shape[1:]), given.dtype)
                self.made = lane.device.empty((tiles, *made.shape[1:]), made.dtype)
                stack.callback(self.tiles.close)
                stack.callback(self.made.close)
            self.masks = lane.device.empty((most, side, side), np.float32)
            stack.callback(self.masks.close)
            self.staging = stack.enter_context(PinnedArray((most, side, side), np.float32))
            self.crops = lane.device.empty((most, 3, side, side), np.float32)
            stack.callback(self.crops.close)
            self.sources = {}
            for name, rows in sources.items():
                table = lane.device.empty(rows.shape, net.inputs[name].dtype)
                stack.callback(table.close)
                table.copy_from(rows.astype(table.dtype), lane.stream)
                lane.finish()
                self.sources[name] = table
            self.persons: tuple[int, ...] = ()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Free its memory; closing twice is allowed."""
        self._stack.close()


class DeviceBrush(Closing):
    """Paints on a GPU; fulfils `Brush`. Several threads share its lanes.

    Masks that need more than the crop's own place (nets, areas, what lies before a face) are made on
    the host, and copied; the box alone stays on the device.

    Args:
        nets: the net on each of the lanes.
        lanes: streams.
        spec: what the net wants and gives.
        masks: what of a crop is painted.
        boost: the crop is this many times larger than the net's input; the net gets it in tiles.
        sources: further inputs by name, one row per person.

    Raises:
        InternalError: the net gives no picture, or `boost` is not allowed.
    """

    def __init__(
        self,
        nets: Sequence[DeviceNet],
        lanes: Sequence[Lane],
        spec: ModelSpec,
        masks: FaceMasks,
        *,
        boost: int = 1,
        sources: Mapping[str, F32] | None = None,
    ) -> None:
        if spec.result is None:
            raise InternalError(f"model {spec.name!r} gives no picture")
        if boost < 1:
            raise InternalError(f"pixel boost {boost}")
        self._spec, self._result, self._masks, self._boost = spec, spec.result, masks, boost
        self._sources = dict(sources or {})
        self._form = NetForm.of(spec.picture)
        self._output = (spec.outputs or tuple(nets[0].outputs))[0]
        with ExitStack() as stack:
            hands = [
                stack.enter_context(_Hand(net, lane, spec, boost, self._sources))
                for net, lane in zip(nets, lanes, strict=True)
            ]
            self._box = self._fixed_mask(hands[0], stack)
            self._free: queue.LifoQueue[_Hand] = queue.LifoQueue()
            for hand in hands:
                self._free.put(hand)
            self._most = min(hand.most for hand in hands)
            self._stack = stack.pop_all()

    def _fixed_mask(self, hand: _Hand, stack: ExitStack) -> DeviceArray | None:
        """The mask of all faces, where it is the same for all."""
        mask = self._masks.fixed(self.size)
        if mask is None:
            return None
        device: DeviceArray = hand.lane.device.empty((1, self.size, self.size), np.float32)
        stack.callback(device.close)
        device.copy_from(np.ascontiguousarray(mask[np.newaxis]), hand.lane.stream)
        hand.lane.finish()
        return device

    @property
    def name(self) -> str:
        """Of the model."""
        return self._spec.name

    @property
    def size(self) -> int:
        """Side of the crop, pixels."""
        return self._spec.size * self._boost

    @property
    def needs_landmarks(self) -> bool:
        """Whether the masks need the 68 points."""
        return self._masks.needs_landmarks

    @property
    def persons(self) -> int | None:
        """How many sources there are; None: the net takes none."""
        return min((len(rows) for rows in self._sources.values()), default=None)

    @contextmanager
    def _hand(self) -> Iterator[_Hand]:
        hand = self._free.get()
        try:
            yield hand
        finally:
            self._free.put(hand)

    def paint(self, frames: FrameBatch, group: Group, told: Callable[[int, int], None]) -> None:
        """See `Brush.paint`; `told` is called when the frames are brought back to the host."""
        here = on_device(frames)
        with self._hand() as hand:
            hand.lane.begin(here)
            # Crops are taken before anything is painted: a group holds whole frames.
            order = sorted(range(len(group)), key=lambda row: (group[row][0], group[row][1].side_px))
            ordered = [group[row] for row in order]
            for start in range(0, len(ordered), self._most):
                self._some(here, hand, ordered[start : start + self._most], told)
            hand.lane.end(here)

    def _some(
        self, frames: DeviceFrames, hand: _Hand, group: Group, told: Callable[[int, int], None]
    ) -> None:
        n, stream = len(group), hand.lane.stream
        where = np.array([i for i, _ in group], np.int64)
        matrices = np.stack([paint.matrix for _, paint in group])
        made = self._generate(frames, hand, group, where, matrices)
        masks = self._box
        if masks is None or any(paint.covers for _, paint in group):
            masks = self._host_masks(frames, hand, group, where, matrices, made)
        sound = hand.soundness(made, n, frames.sound_flags(n), stream)
        rectangles = hand.paster(
            frames, where, matrices, made, masks, self._result, stream,
            opacity=np.array([paint.opacity for _, paint in group], np.float32), boost=self._boost,
        )  # fmt: skip
        frames.painted(where, rectangles, told, sound)
