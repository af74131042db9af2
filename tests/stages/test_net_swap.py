"""The swapper from a file: nothing is lost on the way through its crop, and each face gets its source."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32, Colour, Frames, PixelFormat
from ffswap.engines import OrtCpuSession
from ffswap.errors import EngineError, InternalError
from ffswap.geometry import affine
from ffswap.geometry.crop_masks import AREAS
from ffswap.models import ModelSpec
from ffswap.models.spec import ImageOutput, SourceInput
from ffswap.options import MaskKind
from ffswap.stages.feed import SharedNet
from ffswap.stages.masks import FaceMasks
from ffswap.stages.net_paint import FRUITLESS, SKIPPED
from ffswap.stages.net_swap import NetPaint, NetSwapper
from tests.known_answers import (
    TEMPLATES,
    face_points,
    faces_at,
    frames_with,
    identity_swapper,
    image_input,
    occluder,
    occluder_spec,
    painted,
    painter,
    parser,
    parser_spec,
    smooth_planes,
    swapper_spec,
)
from tests.stages.face_scenes import FORMATS, copy_of, to_planes

HALF, UNIT = [127.5] * 3, [255.0] * 3
IMAGENET = ([0.485 * 255, 0.456 * 255, 0.406 * 255], [0.229 * 255, 0.224 * 255, 0.225 * 255])
TO_UNIT = ImageOutput(mean=(0, 0, 0), std=(255, 255, 255))
TO_HALF = ImageOutput(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
PICTURE = SourceInput(
    name="source", form="picture", image=image_input(112, "source"), template="arcface_112_v2"
)

PUBLISHED = {
    "inswapper": swapper_spec(128, "arcface_128"),
    "hyperswap": swapper_spec(256, "arcface_128", mean=HALF, std=HALF, result=TO_HALF),
    "simswap": swapper_spec(256, "arcface_112_v1", mean=IMAGENET[0], std=IMAGENET[1]),
    "simswap_512": swapper_spec(512, "arcface_112_v1"),
    "hififace": swapper_spec(256, "mtcnn_512", mean=HALF, std=HALF, result=TO_HALF),
    "uniface": swapper_spec(256, "ffhq_512", mean=HALF, std=HALF, result=TO_HALF, source=PICTURE),
}
"""The published interfaces that differ in template, size or scale."""

PEOPLE = [
    np.eye(1, 512, dtype=np.float32) * 0.9,
    np.eye(1, 512, 1, dtype=np.float32) * 0.9,
    np.eye(1, 512, 2, dtype=np.float32) * -0.9,
]


def source_of(spec: ModelSpec) -> F32:
    assert spec.source is not None
    if spec.source.form == "picture":
        return np.full((1, 3, 112, 112), 0.3, np.float32)
    return PEOPLE[0]


def smooth_frames(fmt: PixelFormat, count: int = 1, colour: Colour | None = None) -> Frames:
    colour = colour or Colour()
    planes = [smooth_planes(fmt, colour, 241, 319, 0.4 * k) for k in range(count)]
    return frames_with(planes, fmt, colour)


def grey_frames(count: int = 1, height: int = 200, width: int = 300) -> Frames:
    fmt = FORMATS["yuv444p"]
    grey = np.full((height, width, 3), 110, np.uint8)
    return frames_with([to_planes(grey, fmt) for _ in range(count)], fmt)


def changes(one: Frames, two: Frames, i: int = 0) -> list[NDArray[np.int64]]:
    """Per plane by how much each sample differs."""
    pairs = zip(one.planes[i], two.planes[i], strict=True)
    return [np.abs(a.astype(np.int64) - b) for a, b in pairs]


def rgb_at(frames: Frames, i: int, x: int, y: int) -> F32:
    """Colour of one pixel of a 4:4:4 frame, by the textbook."""
    fmt, colour = frames.format, frames.colour
    (y0, y_span), (c0, c_span) = colour.luma_scale(fmt.depth), colour.chroma_scale(fmt.depth)
    luma, cb, cr = (float(plane[y, x]) for plane in frames.planes[i])
    luma, cb, cr = (luma - y0) / y_span, (cb - c0) / c_span, (cr - c0) / c_span
    red, blue = luma + cr * 2 * (1 - colour.kr), luma + cb * 2 * (1 - colour.kb)
    kg = 1 - colour.kr - colour.kb
    return np.array([red, (luma - colour.kr * red - colour.kb * blue) / kg, blue], np.float32)


class Counting(OrtCpuSession):
    """Remembers how many rows came at a time."""

    batches: list[int]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.batches = [*getattr(self, "batches", []), len(next(iter(feeds.values())))]
        return super().run(feeds)


@pytest.mark.parametrize("boost", [1, 2])
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"])
def test_a_net_that_changes_nothing_leaves_the_video_as_it_is(pixels, name, boost):
    spec, fmt = PUBLISHED[name], FORMATS[pixels]
    template = TEMPLATES[str(spec.template)]
    frames = smooth_frames(fmt)
    before = copy_of(frames)
    faces = faces_at(
        (0, face_points(90, 110, 130, 20, str(spec.template))),
        (0, face_points(300, 60, 110, -70, str(spec.template))),
    )
    with OrtCpuSession(identity_swapper(spec), name="identity") as session:
        swapper = NetSwapper(session, spec, template, [source_of(spec)], FaceMasks(), boost)
        assert swapper.size == spec.size * boost
        plans = swapper.plan(frames, faces)
        swapper.paint(frames, plans)
    for change in changes(before, frames):
        assert change.max() <= 1
    y, x = np.mgrid[0:241, 0:319]
    outside = np.ones((241, 319), bool)
    for paint in plans[0]:
        at = np.stack([x, y], -1) @ paint.matrix[:, :2].T + paint.matrix[:, 2]
        outside &= ~((at > -1) & (at < swapper.size)).all(-1)
    assert outside.mean() > 0.4
    assert (changes(before, frames)[0][outside] == 0).all()


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_full_range_video_comes_back_too(depth, full_range):
    fmt, spec = PixelFormat("x", depth, 1, 1), PUBLISHED["hyperswap"]
    frames = smooth_frames(fmt, colour=Colour(full_range=full_range))
    before = copy_of(frames)
    with OrtCpuSession(identity_swapper(spec), name="identity") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], [PEOPLE[0]], FaceMasks())
        swapper.paint(frames, swapper.plan(frames, faces_at((0, face_points(160, 120, 150, 35)))))
    assert max(change.max() for change in changes(before, frames)) <= 1


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("boost", [1, 2])
def test_each_face_gets_the_source_that_it_is_to_become(boost, batch):
    spec = PUBLISHED["inswapper"]
    frames = grey_frames(3)
    before = copy_of(frames)
    places = [(0, 60, 60), (0, 220, 120), (2, 60, 130), (2, 160, 60), (2, 250, 120)]
    who = [2, 0, 1, 1, 2]
    faces = faces_at(*((i, face_points(x, y, 70, 10 * x)) for i, x, y in places))
    with OrtCpuSession(painter(spec, batch), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks(), boost)
        swapper.paint(frames, swapper.plan(frames, faces, who=np.array(who, np.int64)))
    for (i, x, y), person in zip(places, who, strict=True):
        want = painted(PEOPLE[person])[0]
        # The colour is rounded to code values of 8 bits.
        assert np.abs(rgb_at(frames, i, x, y) - want).max() < 0.01, (i, x, y)
    assert max(change.max() for change in changes(before, frames, 1)) == 0


def test_a_source_that_is_a_picture_reaches_the_net():
    spec = PUBLISHED["uniface"]
    colours = np.array([[0.8, 0.2, 0.1], [0.1, 0.3, 0.9]], np.float32)
    sources = [np.broadcast_to(c[None, :, None, None], (1, 3, 112, 112)).copy() for c in colours]
    frames = grey_frames()
    places = [(70, 100), (220, 100)]
    faces = faces_at(*((0, face_points(x, y, 80, 0, "ffhq_512")) for x, y in places))
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["ffhq_512"], sources, FaceMasks())
        swapper.paint(frames, swapper.plan(frames, faces, who=np.array([1, 0])))
    for (x, y), want in zip(places, colours[::-1], strict=True):
        assert np.abs(rgb_at(frames, 0, x, y) - want).max() < 0.01


@pytest.mark.parametrize(
    ("boost", "want"), [(1, [12]), (2, [16, 16, 16]), (8, [16, 16, 16, 16] * 12)]
)
def test_faces_of_many_frames_go_through_the_net_together(boost, want):
    spec = swapper_spec(32)
    frames = grey_frames(6)
    placed = [(i, face_points(x, 100, 60)) for i in range(6) for x in (80, 220)]
    with Counting(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks(), boost)
        swapper.paint(frames, swapper.plan(frames, faces_at(*placed)))
        assert sum(session.batches) == sum(want)
        assert max(session.batches) == max(want)
        assert boost == 8 or session.batches == want


def test_large_crops_go_in_few_at_a_time():
    spec = swapper_spec(512)
    frames = grey_frames(5)
    placed = [(i, face_points(150, 100, 60)) for i in range(5)]
    with Counting(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks())
        swapper.paint(frames, swapper.plan(frames, faces_at(*placed)))
        assert session.batches == [4, 1]


def test_the_wider_face_lies_over_the_narrower():
    spec = PUBLISHED["inswapper"]
    for order in ([0, 1], [1, 0]):
        frames = grey_frames()
        placed = [(0, face_points(120, 100, 120)), (0, face_points(160, 100, 60))]
        faces = faces_at(*[placed[k] for k in order])
        with OrtCpuSession(painter(spec), name="painter") as session:
            swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks(blur=0))
            swapper.paint(frames, swapper.plan(frames, faces, who=np.array(order)))
        wide, narrow = painted(PEOPLE[0])[0], painted(PEOPLE[1])[0]
        assert np.abs(rgb_at(frames, 0, 150, 100) - wide).max() < 0.01
        assert np.abs(rgb_at(frames, 0, 184, 100) - narrow).max() < 0.01


def test_what_lies_before_a_face_stays_bit_identical():
    spec = PUBLISHED["hyperswap"]
    frames = smooth_frames(FORMATS["yuv420p10le"], 2)
    before = copy_of(frames)
    hand = np.array([[100, 60], [190, 80], [180, 130], [110, 120]], np.float32)
    placed = [(i, face_points(150, 120, 140, 15)) for i in range(2)]
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks())
        plans = swapper.plan(frames, faces_at(*placed), covers=[[hand, hand + 1000], []])
        assert [len(paint.covers) for (paint,) in plans] == [1, 0]
        swapper.paint(frames, plans)
    y, x = np.mgrid[0:241, 0:319]
    inside = (x > 118) & (x < 172) & (y > 78) & (y < 112)  # well within the polygon
    luma = changes(before, frames, 0)[0]
    assert (luma[inside] == 0).all()
    assert luma[145, 150] > 20  # below the hand it is painted
    assert changes(before, frames, 1)[0][inside].min() > 20


def test_faces_that_cannot_be_aligned_are_skipped_and_counted():
    spec = PUBLISHED["inswapper"]
    frames = grey_frames()
    good = face_points(150, 100, 70)
    bad = [np.full((5, 2), 50.0), np.full((5, 2), np.nan), face_points(20, 20, 3), good * 1e5]
    mirrored = (300, 0) - good * (1, -1)
    placed = [
        (0, np.asarray(points, np.float32)) for points in [*bad[:2], good, *bad[2:], mirrored]
    ]
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks())
        faces = faces_at(*placed)
        plans = swapper.plan(frames, faces, who=np.array([0, 0, 1, 0, 0, 0]))
        assert len(plans[0]) == 1
        assert plans[0][0].person == 1
        assert swapper.skipped == {"points": 3, "size": 2}
        swapper.plan(frames, faces)
        assert swapper.skipped == {"points": 6, "size": 4}
        assert set(SKIPPED) >= set(swapper.skipped)


@pytest.mark.parametrize("boost", [1, 2])
def test_a_face_for_which_the_net_gives_no_numbers_stays_as_it_is(boost):
    """The others of its batch are painted."""
    spec, frames = PUBLISHED["inswapper"], grey_frames(2)
    people = [PEOPLE[0], PEOPLE[0] * np.float32(np.nan)]
    faces = faces_at(*((i, face_points(x, 100, 70)) for i, x in [(0, 60), (0, 240), (1, 60)]))
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(
            session, spec, TEMPLATES["arcface_128"], people, FaceMasks(), boost=boost
        )
        swapper.paint(frames, swapper.plan(frames, faces, who=np.array([0, 1, 1])))
        swapper.check()
        assert swapper.skipped == {"values": 2}
    untouched = grey_frames(2)
    assert np.abs(rgb_at(frames, 0, 60, 100) - painted(PEOPLE[0])[0]).max() < 0.012
    assert (rgb_at(frames, 0, 240, 100) == rgb_at(untouched, 0, 240, 100)).all()
    assert not any(change.any() for change in changes(untouched, frames, 1))


@pytest.mark.parametrize("kinds", [["box", "occlusion"], ["box", "region"]])
def test_a_face_for_which_a_mask_gives_no_numbers_stays_as_it_is(kinds):
    spec, frames = PUBLISHED["inswapper"], grey_frames(2)
    before, labels = copy_of(frames), parser_spec(64)

    class Broken(OrtCpuSession):
        def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            out = super().run(feeds)
            for values in out.values():
                values[1] = np.nan
            return out

    seer = occluder_spec(64)
    faces = faces_at(*((i, face_points(150, 100, 70)) for i in range(2)))
    with (
        OrtCpuSession(painter(spec), name="painter") as session,
        Broken(occluder(seer), name="occluder") as one,
        Broken(parser(labels, {"skin": (0.4, 0.4, 0.4)}), name="parser") as two,
    ):
        masks = FaceMasks(
            kinds, occluders=[SharedNet(one, seer)], parser=SharedNet(two, labels), regions=["skin"]
        )
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, masks)
        swapper.paint(frames, swapper.plan(frames, faces))
        assert swapper.skipped == {"values": 1}
    assert max(change.max() for change in changes(before, frames, 0)) > 0
    assert max(change.max() for change in changes(before, frames, 1)) == 0


def test_a_net_that_never_gives_numbers_ends_the_run():
    spec, frames = PUBLISHED["inswapper"], grey_frames()
    nothing = [PEOPLE[0] * np.float32(np.nan)]
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], nothing, FaceMasks())
        swapper.check()  # of no face at all nothing can be said
        plans = swapper.plan(frames, faces_at((0, face_points(150, 100, 70))))
        swapper.paint(frames, plans)
        with pytest.raises(EngineError, match="not numbers for all of 1 faces"):
            swapper.check()
        for _ in range(FRUITLESS - 2):
            swapper.paint(frames, plans)
        with pytest.raises(EngineError, match=f"not numbers for all of {FRUITLESS} faces"):
            swapper.paint(frames, plans)
        assert swapper.skipped == {"values": FRUITLESS}
        another = swapper.fresh()
        another.check()
        assert another.skipped == {}


def test_a_face_outside_the_frame_changes_nothing():
    spec = PUBLISHED["inswapper"]
    frames = grey_frames()
    before = copy_of(frames)
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks())
        swapper.paint(frames, swapper.plan(frames, faces_at((0, face_points(-300, 900, 80)))))
        swapper.paint(frames, swapper.plan(frames, faces_at()))
    assert max(change.max() for change in changes(before, frames)) == 0


def test_occluders_see_the_target_and_areas_follow_the_landmarks():
    """A green bar before the face stays; of the rest only the mouth's area is painted."""
    fmt, spec = FORMATS["yuv444p"], PUBLISHED["hyperswap"]
    picture = np.full((200, 300, 3), (180, 140, 120), np.uint8)
    picture[:, 140:150] = (20, 230, 20)
    frames = frames_with([to_planes(picture, fmt)], fmt)
    before = copy_of(frames)
    landmarks = np.zeros((1, 68, 2), np.float32)
    angle = np.linspace(0, 2 * np.pi, len(AREAS["mouth"]), endpoint=False)
    ellipse = np.stack([150 + 40 * np.cos(angle), 110 + 20 * np.sin(angle)], -1)
    landmarks[0, list(AREAS["mouth"])] = ellipse
    faces = faces_at((0, face_points(150, 100, 150, 40)), landmarks=landmarks)
    kinds: list[MaskKind] = ["box", "occlusion", "area"]
    free = occluder_spec()
    with (
        OrtCpuSession(painter(spec), name="painter") as session,
        OrtCpuSession(occluder(free), name="occluder") as seer,
    ):
        masks = FaceMasks(kinds, occluders=[SharedNet(seer, free)], areas=["mouth"])
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE[2:], masks)
        swapper.paint(frames, swapper.plan(frames, faces))
    changed = changes(before, frames)[0]
    assert (changed[:, 141:149] <= 1).all()  # the net's own crop is bilinear at the bar's rim
    y, x = np.mgrid[0:200, 0:300]
    radius = np.hypot((x - 150) / 40, (y - 110) / 20)
    assert (changed[radius > 1.06] == 0).all()
    assert changed[110, 168] > 10


def test_painting_in_several_threads_gives_the_same_frames():
    spec = PUBLISHED["inswapper"]
    batches = [smooth_frames(FORMATS["yuv420p"], 2) for _ in range(6)]
    alone = copy_of(batches[0])
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_128"], PEOPLE, FaceMasks(), 2)
        faces = faces_at((0, face_points(90, 110, 130)), (1, face_points(200, 110, 90, 30)))
        plans = swapper.plan(alone, faces, who=np.array([0, 2]))
        swapper.paint(alone, plans)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda frames: swapper.paint(frames, plans), batches))
    for frames in batches:
        for i in range(2):
            assert max(change.max() for change in changes(alone, frames, i)) == 0


def test_a_plan_holds_no_picture_and_changes_none():
    spec = PUBLISHED["simswap_512"]
    frames = smooth_frames(FORMATS["yuv420p"], 2)
    before = copy_of(frames)
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, TEMPLATES["arcface_112_v1"], PEOPLE, FaceMasks(), 2)
        points = face_points(90, 110, 130, 0, "arcface_112_v1")
        plans = swapper.plan(frames, faces_at((1, points)))
    assert [len(plan) for plan in plans] == [0, 1]
    paint = plans[1][0]
    assert isinstance(paint, NetPaint)
    assert paint.side_px == pytest.approx(130, rel=1e-4)
    at = affine.apply(paint.matrix, points)
    assert np.abs(at - TEMPLATES["arcface_112_v1"] * 1024).max() < 0.01
    assert (
        sum(np.asarray(value).nbytes for value in vars(paint).values() if value is not None) < 999
    )
    assert max(change.max() for change in changes(before, frames, 1)) == 0


def test_what_does_not_fit_is_refused():
    spec = PUBLISHED["inswapper"]
    frames, faces = grey_frames(), faces_at((0, face_points(150, 100, 70)))
    template = TEMPLATES["arcface_128"]
    with OrtCpuSession(painter(spec), name="painter") as session:
        swapper = NetSwapper(session, spec, template, PEOPLE, FaceMasks())
        for person in (3, -1):
            with pytest.raises(InternalError, match="of 3 sources"):
                swapper.plan(frames, faces, who=np.array([person]))
        masks = FaceMasks(["area"], areas=["mouth"])
        with pytest.raises(InternalError, match="without landmarks"):
            NetSwapper(session, spec, template, PEOPLE, masks).plan(frames, faces)
        with pytest.raises(InternalError, match="no source"):
            NetSwapper(session, spec, template, [], FaceMasks())
        with pytest.raises(InternalError, match="pixel boost 0"):
            NetSwapper(session, spec, template, PEOPLE, FaceMasks(), 0)
        with pytest.raises(InternalError, match="no swapper"):
            NetSwapper(session, occluder_spec(), template, PEOPLE, FaceMasks())
