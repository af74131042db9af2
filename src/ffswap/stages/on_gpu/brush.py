"""Painting faces on a GPU: crops, net and paste without a way through the host."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32, I64, FrameBatch
from ...closing import Closing
from ...errors import InternalError
from ...geometry.crop_masks import join_boost
from ...gpu import DeviceArray, Event, PinnedArray
from ...models import ModelSpec
from ...ops.cuda import CropReader, DeviceFrames, NetForm, Painting, Paster, Soundness
from ..brush import landmarks_of, to_unit, without_covers
from ..masks import FaceMasks
from ..net_paint import Group, NetPaint
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
            self.staged = Event()
            stack.callback(self.staged.close)
            self._persons: tuple[int, ...] = ()
            self._stack = stack.pop_all()

    def choose(self, persons: Sequence[int]) -> None:
        """Start to give each row of the net the source of a person."""
        wanted = (*persons, *[persons[-1]] * (self.net.most - len(persons)))
        if not self.sources or wanted == self._persons:
            return
        for name, table in self.sources.items():
            for row, person in enumerate(wanted):
                to = self.net.inputs[name].rows(row, row + 1)
                to.copy_across(table.rows(person, person + 1), self.lane.stream)
        self._persons = wanted

    def fetch(self, array: DeviceArray) -> NDArray[Any]:
        """A copy on the host; waits for it."""
        host = np.empty(array.shape, array.dtype)
        array.copy_to(host, self.lane.stream)
        self.lane.finish()
        return host

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
        if not self._masks.is_box:
            return None
        mask = np.ascontiguousarray(self._masks.box(self.size)[np.newaxis])
        device: DeviceArray = hand.lane.device.empty(mask.shape, np.float32)
        stack.callback(device.close)
        device.copy_from(mask, hand.lane.stream)
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
            with hand.lane.turn:
                yield hand
        finally:
            self._free.put(hand)

    def paint(self, frames: FrameBatch, group: Group, told: Callable[[int, int], None]) -> None:
        """See `Brush.paint`; `told` is called when the frames are brought back to the host."""
        here = on_device(frames)
        with self._hand() as hand:
            hand.lane.begin(here)
            for chunk in self._chunks(group):
                self._chunk(here, hand, chunk, told)
            hand.lane.end(here)

    def _chunks(self, group: Group) -> Iterator[Group]:
        """Whole frames, as many as go together; of each frame from the narrowest face to the widest."""
        ordered = sorted(group, key=lambda one: (one[0], one[1].side_px))
        chunk: list[tuple[int, NetPaint]] = []
        for _, faces in itertools.groupby(ordered, key=lambda one: one[0]):
            here = list(faces)
            if chunk and len(chunk) + len(here) > self._most:
                yield chunk
                chunk = []
            chunk += here
        if chunk:
            yield chunk

    def _chunk(
        self, frames: DeviceFrames, hand: _Hand, chunk: Group, told: Callable[[int, int], None]
    ) -> None:
        """Paint faces of whole frames: all crops are taken before anything is painted."""
        if len(chunk) <= self._most:
            made, masks = self._make(frames, hand, chunk)
            self._paste(frames, hand, chunk, made, masks, told)
            return
        with ExitStack() as stack:
            parts: list[tuple[Group, list[DeviceArray]]] = []
            for start in range(0, len(chunk), self._most):
                part = chunk[start : start + self._most]
                kept: list[DeviceArray] = []
                for array in self._make(frames, hand, part):
                    if array is self._box:
                        kept.append(array)
                        continue
                    copy = hand.lane.device.empty(array.shape, array.dtype)
                    stack.callback(copy.close)
                    copy.copy_across(array, hand.lane.stream)
                    kept.append(copy)
                parts.append((part, kept))
            for part, (made, masks) in parts:
                self._paste(frames, hand, part, made, masks, told)
            hand.lane.finish()

    def _make(
        self, frames: DeviceFrames, hand: _Hand, group: Group
    ) -> tuple[DeviceArray, DeviceArray]:
        """What the net makes of the faces (n * boost**2, 3, s, s), and their masks."""
        where, matrices = _places(group)
        before = None if self._masks.is_box else self._crops(frames, hand, where, matrices)
        made = self._generate(frames, hand, group)
        if self._box is not None and not any(paint.covers for _, paint in group):
            return made, self._box
        if before is None:
            masks = np.repeat(self._masks.box(self.size)[np.newaxis], len(group), 0)
        else:
            masks = self._masks.before(before)
            after = self._pictures(hand, made)
            np.minimum(masks, self._masks.after(after, landmarks_of(group)), out=masks)
        hand.staged.synchronize()  # rule 4 of `gpu.stream`
        for row, (_, paint) in enumerate(group):
            hand.staging.array[row] = without_covers(masks[row], paint)
        n = len(group)
        hand.masks.rows(0, n).copy_from(hand.staging.array[:n], hand.lane.stream)
        hand.lane.stream.record(hand.staged)
        return made, hand.masks.rows(0, n)

    def _crops(
        self, frames: DeviceFrames, hand: _Hand, where: I64, matrices: NDArray[np.float64]
    ) -> F32:
        """(n, 3, S, S) of the host, 0 to 1."""
        device = hand.crops.rows(0, len(where))
        hand.reader(frames, where, matrices, device, NetForm(), hand.lane.stream)
        return hand.fetch(device)

    def _generate(self, frames: DeviceFrames, hand: _Hand, group: Group) -> DeviceArray:
        """Start to take the crops and to run the net over them."""
        where, matrices = _places(group)
        stream, net, tiles = hand.lane.stream, hand.net, len(group) * self._boost**2
        given = net.inputs[self._spec.picture.name]
        target = given if hand.tiles is None else hand.tiles
        hand.reader(
            frames, where, matrices, target.rows(0, tiles), self._form, stream, boost=self._boost
        )
        persons = [paint.person for _, paint in group for _ in range(self._boost**2)]
        made = net.outputs[self._output]
        if hand.tiles is None or hand.made is None:
            hand.choose(persons)
            net.run(tiles)
            return made.rows(0, tiles)
        for start in range(0, tiles, net.most):
            count = min(net.most, tiles - start)
            given.rows(0, count).copy_across(hand.tiles.rows(start, start + count), stream)
            hand.choose(persons[start : start + count])
            net.run(count)
            hand.made.rows(start, start + count).copy_across(made.rows(0, count), stream)
        return hand.made.rows(0, tiles)

    def _pictures(self, hand: _Hand, made: DeviceArray) -> F32:
        """(n, 3, S, S) what the net made, on the host, 0 to 1."""
        return join_boost(to_unit(hand.fetch(made).astype(np.float32), self._result), self._boost)

    def _paste(
        self,
        frames: DeviceFrames,
        hand: _Hand,
        group: Group,
        made: DeviceArray,
        masks: DeviceArray,
        told: Callable[[int, int], None],
    ) -> None:
        where, matrices = _places(group)
        painting, stream = painting_of(frames), hand.lane.stream
        sound = painting.flags(len(group))
        hand.soundness(made, sound, stream)
        rectangles = hand.paster(
            frames, where, matrices, made, masks, sound, self._result, stream,
            opacity=np.array([paint.opacity for _, paint in group], np.float32), boost=self._boost,
        )  # fmt: skip
        painting.add(where, rectangles, told)

    def close(self) -> None:
        """Free its memory, after the work of its lanes; closing twice is allowed."""
        self._stack.close()


def painting_of(frames: DeviceFrames) -> Painting:
    """Where painters note what they did.

    Raises:
        InternalError: the frames keep no record.
    """
    if frames.painting is None:
        raise InternalError(f"{frames!r} keep no record of what is painted")
    return frames.painting


def _places(group: Group) -> tuple[I64, NDArray[np.float64]]:
    """(n,) frames and (n, 2, 3) matrices of faces."""
    where = np.array([i for i, _ in group], np.int64)
    return where, np.stack([paint.matrix for _, paint in group])
