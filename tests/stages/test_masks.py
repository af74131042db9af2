"""Masks of crops: each kind by its known answer, and the smallest of them all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.engines import OrtCpuSession
from ffswap.errors import InternalError
from ffswap.geometry.crop_masks import AREAS, box_mask
from ffswap.stages.feed import SharedNet
from ffswap.stages.masks import FaceMasks, soft_edge
from tests.known_answers import (
    PARSER_CLASSES,
    occluder,
    occluder_spec,
    parser,
    parser_spec,
)

SKIN, HAIR, MOUTH, GREEN = (0.8, 0.6, 0.5), (0.2, 0.15, 0.1), (0.7, 0.2, 0.3), (0.1, 0.9, 0.1)
PALETTE = {"skin": SKIN, "hair": HAIR, "mouth": MOUTH, "background": (0.5, 0.5, 0.9)}


def crops_with(side: int, *parts: tuple[tuple[float, ...], tuple[slice, slice]], n: int = 1) -> F32:
    """n crops of skin with rectangles of other colours, in parts of the side."""
    crop = np.empty((3, side, side), np.float32)
    crop[:] = np.array(SKIN)[:, None, None]
    for colour, (rows, columns) in parts:
        top, bottom = (int(end * side) for end in (rows.start, rows.stop))
        left, right = (int(end * side) for end in (columns.start, columns.stop))
        crop[:, top:bottom, left:right] = np.array(colour)[:, None, None]
    return np.repeat(crop[None], n, 0)


RIGHT_HALF = (slice(0, 1), slice(0.5, 1))


def published_edge(mask: F32) -> F32:
    """Softened as the published procedure says it, by OpenCV."""
    soft = cv2.GaussianBlur(mask.clip(0, 1), (0, 0), 5)
    return np.asarray((soft.clip(0.5, 1) - 0.5) * 2, np.float32)


def test_a_soft_edge_is_zero_where_the_mask_was_and_one_far_inside():
    mask = np.zeros((100, 100), np.float32)
    mask[:, 50:] = 1
    got = soft_edge(mask)
    assert np.array_equal(got, published_edge(mask))
    assert (got[:, :50] == 0).all()
    assert (got[:, 70:] > 0.999).all()
    assert 0.5 < got[50, 55] < 0.9


def test_a_box_is_the_same_for_all():
    masks = FaceMasks(["box"], blur=0.5, padding=(10, 0, 0, 0))
    got = masks.before(crops_with(128, n=3))
    assert got.shape == (3, 128, 128)
    assert (got == box_mask(128, 0.5, (10, 0, 0, 0))).all()
    assert (masks.after(crops_with(128, n=3)) == 1).all()


@pytest.mark.parametrize("side", [128, 256, 512])
@pytest.mark.parametrize("batch", ["N", 1])
def test_what_covers_the_face_is_left_out(side, batch):
    spec = occluder_spec()
    with OrtCpuSession(occluder(spec, batch), name="occluder") as session:
        masks = FaceMasks(["occlusion"], occluders=[SharedNet(session, spec)])
        got = masks.before(crops_with(side, (GREEN, RIGHT_HALF), n=2))
        free = masks.before(crops_with(side))
    half = np.zeros((side, side), np.float32)
    half[:, : side // 2] = 1
    assert (free == 1).all()
    # Between the net's size and the crop's the edge moves by less than a pixel.
    assert np.abs(got - published_edge(half)).max() < 0.09
    assert (got[:, :, side // 2 + 1 :] == 0).all()
    assert got[0, side // 2, 5] == 1


def test_of_several_occluders_the_smallest_counts():
    spec = occluder_spec(64)
    with (
        OrtCpuSession(occluder(spec), name="one") as one,
        OrtCpuSession(occluder(spec), name="two") as two,
    ):
        both = FaceMasks(["occlusion"], occluders=[SharedNet(one, spec), SharedNet(two, spec)])
        alone = FaceMasks(["occlusion"], occluders=[SharedNet(one, spec)])
        crops = crops_with(64, (GREEN, RIGHT_HALF))
        assert np.array_equal(both.before(crops), alone.before(crops))


@pytest.mark.parametrize("side", [128, 512])
def test_only_the_regions_asked_for_are_painted(side):
    spec = parser_spec()
    mouth = (slice(0.5, 1), slice(0, 0.5))
    crops = crops_with(side, (HAIR, RIGHT_HALF), (MOUTH, mouth), n=5)
    want = np.zeros((side, side), np.float32)
    with OrtCpuSession(parser(spec, PALETTE), name="parser") as session:
        net = SharedNet(session, spec)
        for regions in (["skin"], ["skin", "mouth"], ["skin", "mouth", "hair"]):
            got = FaceMasks(["region"], parser=net, regions=regions).after(crops)
            want[: side // 2, : side // 2] = 1
            want[side // 2 :, : side // 2] = "mouth" in regions
            want[:, side // 2 :] = "hair" in regions
            assert got.shape == (5, side, side)
            assert np.abs(got - published_edge(want)).max() < 0.09
        assert (FaceMasks(["region"], parser=net, regions=["nose"]).after(crops) == 0).all()
        assert (FaceMasks(["region"], parser=net, regions=["skin"]).before(crops) == 1).all()


@pytest.mark.parametrize("names", [["mouth"], ["upper-face"], ["lower-face", "mouth"]])
def test_an_area_is_the_hull_of_its_points(names):
    rng = np.random.default_rng(len(names))
    landmarks = rng.uniform(40, 216, (2, 68, 2)).astype(np.float32)
    masks = FaceMasks(["area"], areas=names)
    assert masks.needs_landmarks
    got = masks.after(crops_with(256, n=2), landmarks)
    picked = [point for name in names for point in AREAS[name]]
    for mask, points in zip(got, landmarks, strict=True):
        want = np.zeros((256, 256), np.float32)
        cv2.fillConvexPoly(want, cv2.convexHull(points[picked].astype(np.int32)), 1.0)
        # OpenCV was given whole pixels there: its outline lies up to one pixel away.
        assert np.abs(mask - published_edge(want)).max() < 0.3
        assert np.abs(mask - published_edge(want)).mean() < 0.01


def test_the_smallest_of_all_masks_counts():
    spec, labels = occluder_spec(), parser_spec()
    crops = crops_with(256, (GREEN, RIGHT_HALF))
    with (
        OrtCpuSession(occluder(spec), name="occluder") as one,
        OrtCpuSession(parser(labels, PALETTE), name="parser") as two,
    ):
        net = SharedNet(one, spec)
        every = FaceMasks(
            ["box", "occlusion", "region"], occluders=[net], parser=SharedNet(two, labels),
            regions=["skin"],
        )  # fmt: skip
        box = box_mask(256, 0.3, (0, 0, 0, 0))
        alone = FaceMasks(["occlusion"], occluders=[net]).before(crops)[0]
        assert np.array_equal(every.before(crops)[0], np.minimum(box, alone))
        assert every.after(crops).min() == 0


def test_an_answer_that_is_no_number_gives_no_mask():
    """A label is found in whatever is there: where nothing is known there is no region."""
    spec, labels = occluder_spec(64), parser_spec(64)
    crops = crops_with(128, n=6)
    crops[4, 0, 3, 100] = np.nan
    with (
        OrtCpuSession(occluder(spec), name="occluder") as one,
        OrtCpuSession(parser(labels, PALETTE), name="parser") as two,
    ):
        masks = FaceMasks(
            ["box", "occlusion", "region"], occluders=[SharedNet(one, spec)],
            parser=SharedNet(two, labels), regions=["skin"],
        )  # fmt: skip
        for got in (masks.before(crops), masks.after(crops)):
            assert np.isnan(got[4]).all()
            assert np.isfinite(np.delete(got, 4, 0)).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kinds": []}, "kinds"),
        ({"kinds": ["circle"]}, "circle"),
        ({"kinds": ["occlusion"]}, "without an occluder"),
        ({"kinds": ["region"], "regions": ["skin"]}, "without a parser"),
        ({"kinds": ["area"]}, "areas"),
        ({"kinds": ["area"], "areas": ["chin"]}, "chin"),
    ],
)
def test_a_kind_without_what_it_needs_is_refused(given, words):
    with pytest.raises(InternalError, match=words):
        FaceMasks(**given)


def test_a_region_that_the_parser_has_not_is_refused():
    spec = parser_spec(64)
    with OrtCpuSession(parser(spec, PALETTE), name="parser") as session:
        net = SharedNet(session, spec)
        with pytest.raises(InternalError, match=f"hat.*{sorted(PARSER_CLASSES)[0]}"):
            FaceMasks(["region"], parser=net, regions=["hat"])


def test_an_area_without_landmarks_is_refused():
    with pytest.raises(InternalError, match="without landmarks"):
        FaceMasks(["area"], areas=["mouth"]).after(crops_with(64))
