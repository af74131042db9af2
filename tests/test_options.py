"""Options: what is allowed, what is refused and how, positions in a clip."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest

from ffswap.errors import OptionError
from ffswap.options import (
    DetectOptions,
    EncodeOptions,
    FaceChoice,
    MeshSwapOptions,
    ModelOptions,
    Person,
    Position,
    SwapOptions,
    TrackOptions,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", "12.5"), ("0", "0"), ("7s", "7"), ("5.", "5"), (" 3 ", "3"), ("90", "90"),
        ("1:02.5", "62.5"), ("0:00:01.001", "1.001"), ("00:01:02.500", "62.5"), ("2:59:59", "10799"),
        ("100:00:00", "360000"), ("0.1", "0.1"),
    ],
)  # fmt: skip
def test_times(text, seconds):
    position = Position.parse(text)
    assert position.seconds == Fraction(seconds)
    assert position.frame is None


@pytest.mark.parametrize(("text", "frame"), [("250f", 250), ("0f", 0), (" 9f ", 9)])
def test_frames(text, frame):
    position = Position.parse(text)
    assert position.frame == frame
    assert position.seconds is None


@pytest.mark.parametrize(
    "text", ["", "f", "-1", "-1f", "1.5f", "1:2:3:4", "1:60:00", "abc", "1,5", "1e3", ":5", "1:", "nan"]
)  # fmt: skip
def test_what_is_no_position(text):
    with pytest.raises(OptionError, match="neither a time nor a frame") as caught:
        Position.parse(text)
    assert repr(text) in str(caught.value)
    assert "250f" in (caught.value.hint or "")


def test_a_position_is_one_of_two_things():
    with pytest.raises(OptionError, match="either seconds or a frame"):
        Position()
    with pytest.raises(OptionError, match="either seconds or a frame"):
        Position(seconds=Fraction(1), frame=1)


@pytest.mark.parametrize("arguments", [{"seconds": Fraction(-1, 10)}, {"frame": -1}])
def test_a_position_is_not_negative(arguments):
    with pytest.raises(OptionError, match="0 or more"):
        Position(**arguments)


REFUSED: list[tuple[Any, str, list[Any]]] = [
    (DetectOptions, "score", [0, 1, -0.1, 1.5]),
    (DetectOptions, "iou", [0, 1]),
    (DetectOptions, "min_face_px", [11, 0, -5]),
    (TrackOptions, "detect_every_s", [0, -1]),
    (TrackOptions, "score", [0, 1]),
    (TrackOptions, "smooth_hz", [-0.1]),
    (TrackOptions, "smooth_beta", [-0.1]),
    (MeshSwapOptions, "shape", [-0.01, 1.01]),
    (EncodeOptions, "quality", [-1, 101]),
    (SwapOptions, "faces", ["", "Largest", "both", "left-right", "left-right:", "left-right:0"]),
    (SwapOptions, "faces", ["left-right:1,", "left-right:100", "left-right:1, 2", "right-left:1"]),
    (SwapOptions, "reference", ["", " "]),
    (SwapOptions, "reference_distance", [0, 1, -0.1]),
    (ModelOptions, "swapper", ["", " "]),
    (ModelOptions, "restorer", [""]),
    (ModelOptions, "detector_angles", [(), (45,), (0, 0)]),
    (ModelOptions, "mask_blur", [-0.1, 1.1]),
    (ModelOptions, "mask_padding", [(0, 0, 0), (-1, 0, 0, 0), (50, 0, 50, 0), (0, 60, 0, 40)]),
    (ModelOptions, "pixel_boost", [0, 63, 2049]),
    (SwapOptions, "device", ["gpu", "cuda:", "cuda:x", "CPU", "cpu ", "cuda:1\n"]),
    (SwapOptions, "threads", [0, -1, 257]),
]
ALLOWED: list[tuple[Any, str, list[Any]]] = [
    (DetectOptions, "score", [0.01, 0.99]),
    (DetectOptions, "iou", [0.01, 0.99]),
    (DetectOptions, "min_face_px", [12, 4000]),
    (TrackOptions, "detect_every_s", [0.001, 100]),
    (TrackOptions, "smooth_hz", [0, 10]),
    (TrackOptions, "smooth_beta", [0, 10]),
    (MeshSwapOptions, "shape", [0, 1]),
    (EncodeOptions, "quality", [None, 0, 100]),
    (SwapOptions, "faces", ["largest", "all", "left-right:1", "left-right:3,1,99"]),
    (SwapOptions, "reference", [None, "anna.jpg"]),
    (SwapOptions, "reference_distance", [0.01, 0.99]),
    (ModelOptions, "restorer", [None, "gfpgan_1.4"]),
    (ModelOptions, "masks", [("box",), ("area", "box", "region", "occlusion")]),
    (ModelOptions, "mask_padding", [(10, 20, 30, 40)]),
    (ModelOptions, "pixel_boost", [None, 64, 2048]),
    (SwapOptions, "device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"]),
    (SwapOptions, "threads", [None, 1, 256]),
]


@pytest.mark.parametrize(("cls", "name", "value"), [(c, n, v) for c, n, vs in REFUSED for v in vs])
def test_what_is_refused_is_named_with_what_is_allowed(cls, name, value):
    with pytest.raises(OptionError) as caught:
        cls(**{name: value})
    assert f"{name} is {value!r}; allowed: " in str(caught.value)


@pytest.mark.parametrize(("cls", "name", "value"), [(c, n, v) for c, n, vs in ALLOWED for v in vs])
def test_what_is_allowed(cls, name, value):
    assert getattr(cls(**{name: value}), name) == value


@pytest.mark.parametrize("cls", sorted({c for c, _, _ in REFUSED}, key=str))
def test_options_are_frozen_and_named(cls):
    options = cls()
    field = dataclasses.fields(options)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options, field, getattr(options, field))
    with pytest.raises(TypeError):
        cls(getattr(options, field))


def test_parts_are_not_shared_and_equal_options_are_equal():
    assert SwapOptions() == SwapOptions()
    assert SwapOptions(detect=DetectOptions(score=0.6)) != SwapOptions()


@pytest.mark.parametrize("masks", [(), ("box", "box"), ("circle",), ("",)])
def test_masks_are_known_and_each_is_named_once(masks):
    with pytest.raises(OptionError, match="allowed: one or more of box, occlusion, region, area"):
        ModelOptions(masks=masks)


def test_places_are_read_in_any_order():
    assert FaceChoice.parse("left-right:3,1,3").places == (1, 3)


def test_a_mapping_has_a_source_and_a_reference():
    assert Person.parse("a b.jpg=/x/c.png") == Person(source="a b.jpg", reference="/x/c.png")


@pytest.mark.parametrize("text", ["", "a.jpg", "a.jpg=", "=b.jpg", " = ", "a=b=c"])
def test_what_is_no_mapping(text):
    with pytest.raises(OptionError, match="allowed: SOURCE=REFERENCE") as caught:
        Person.parse(text)
    assert repr(text) in str(caught.value)
