"""A swap in a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import ffswap
from ffswap import EncodeOptions, SwapOptions, SwapReport
from ffswap.errors import MediaError, OptionError, OutputFormatError
from tests.pipeline.face_clips import Place, astronaut, background, face_mask, put

WIDTH, HEIGHT = 360, 270
PLACE = Place(165, 120, 0.8)
MASK = face_mask((HEIGHT, WIDTH), astronaut(), PLACE, 6)
FACE = face_mask((HEIGHT, WIDTH), astronaut(), PLACE, -4)

# EXIF orientation -> how the upright picture is turned to be stored (EXIF 2.32, tag 0x0112).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture() -> Image.Image:
    return Image.fromarray(put(background(WIDTH, HEIGHT), astronaut(), PLACE))


def check(before: Any, after: Any, *, exact: bool = True) -> None:
    """Only the face has changed; with lossy formats: mostly."""
    change = np.abs(before.astype(int) - after.astype(int)).max(-1)
    if exact:
        assert not (change > 0)[~MASK].any()
    assert change[~MASK].mean() < 3
    assert change[FACE].mean() > change[~MASK].mean() + 3


def samples(path: Path, mode: str = "RGB") -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


@pytest.fixture
def swap(portrait: Path, tmp_path: Path) -> Callable[..., SwapReport]:
    def run(source: str, output: str, **options: Any) -> SwapReport:
        return ffswap.swap(
            portrait, tmp_path / source, tmp_path / output, options=SwapOptions(**options)
        )

    return run


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("in.png", "out.png"), ("in.bmp", "out.bmp"), ("in.tiff", "out.tif"),
        ("in.jpg", "out.png"), ("in.jpg", "out.JPEG"), ("in.webp", "out.webp"),
        ("in.png", "out.jpg"),
    ],
)  # fmt: skip
def test_only_the_face_changes(
    swap: Callable[..., SwapReport], tmp_path: Path, source: str, output: str
) -> None:
    picture().save(tmp_path / source)
    report = swap(source, output)
    assert (report.frames, report.faces, report.tracks) == (1, 1, 1)
    assert report.warnings == ()
    lossy = output.lower().endswith(("jpg", "jpeg", "webp"))
    check(samples(tmp_path / source), samples(tmp_path / output), exact=not lossy)
    beside = {f"{output}.c2pa"} if output.endswith("bmp") else set()
    assert {p.name for p in tmp_path.iterdir()} == {source, output, *beside}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_turned_picture_comes_out_upright(
    swap: Callable[..., SwapReport], tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright, turn = picture(), STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a caption"
    stored.save(tmp_path / f"in.{suffix}", exif=exif)
    assert swap(f"in.{suffix}", f"out.{suffix}").faces == 1
    with Image.open(tmp_path / f"out.{suffix}") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010E] == "a caption"
    exact = suffix == "png"
    check(np.asarray(upright), samples(tmp_path / f"out.{suffix}"), exact=exact)


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_transparency_is_kept(swap: Callable[..., SwapReport], tmp_path: Path, suffix: str) -> None:
    image = picture()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :80], alpha[90:130, 140:200] = 40, 120
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "in.png")
    assert swap("in.png", f"out.{suffix}").faces == 1
    after = samples(tmp_path / f"out.{suffix}", "RGBA")
    assert np.array_equal(after[..., 3], alpha)
    check(np.asarray(image)[..., :3], after[..., :3], exact=suffix != "webp")


def test_transparency_does_not_go_into_a_jpeg(
    swap: Callable[..., SwapReport], tmp_path: Path
) -> None:
    image = picture()
    image.putalpha(Image.new("L", image.size, 99))
    image.save(tmp_path / "in.png")
    with pytest.raises(OutputFormatError, match="transparency"):
        swap("in.png", "out.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("LA", "png"), ("P", "png"), ("L", "jpg"), ("CMYK", "jpg")]
)
def test_other_modes(
    swap: Callable[..., SwapReport], tmp_path: Path, mode: str, suffix: str
) -> None:
    picture().convert(mode).save(tmp_path / f"in.{suffix}")
    report = swap(f"in.{suffix}", "out.png")
    assert report.faces == 1
    assert bool(report.warnings) == (mode == "CMYK")
    check(samples(tmp_path / f"in.{suffix}"), samples(tmp_path / "out.png"))


@pytest.mark.parametrize("grey", [True, False])
def test_sixteen_bits_become_eight_and_that_is_said(
    swap: Callable[..., SwapReport], tmp_path: Path, grey: bool
) -> None:
    rgb = np.asarray(picture().convert("L" if grey else "RGB"))
    cv2.imwrite(str(tmp_path / "in.png"), rgb[..., ::-1].astype(np.uint16) * 257 if not grey
                else rgb.astype(np.uint16) * 257)  # fmt: skip
    report = swap("in.png", "out.png")
    assert report.faces == 1
    assert [w for w in report.warnings if "8 bits" in w]
    wanted = np.repeat(rgb[..., None], 3, 2) if grey else rgb
    check(wanted, samples(tmp_path / "out.png"))


def test_a_large_picture(swap: Callable[..., SwapReport], tmp_path: Path) -> None:
    place = Place(1300, 900, 2.5)
    before = put(background(2400, 1800), astronaut(), place)
    cv2.imwrite(str(tmp_path / "in.png"), before[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert swap("in.png", "out.bmp").faces == 1
    different = (samples(tmp_path / "out.bmp") != before).any(-1)
    face = face_mask((1800, 2400), astronaut(), place, 12)
    assert not different[~face].any()
    assert different[face].mean() > 0.3


def test_more_pixels_than_is_safe(swap: Callable[..., SwapReport], tmp_path: Path) -> None:
    Image.new("1", (20000, 10000)).save(tmp_path / "in.png")
    with pytest.raises(MediaError, match=r"200 megapixels; allowed: 100"):
        swap("in.png", "out.png")


def test_a_picture_without_a_face(swap: Callable[..., SwapReport], tmp_path: Path) -> None:
    Image.fromarray(background(300, 200)).save(tmp_path / "in.png")
    report = swap("in.png", "out.png")
    assert (report.faces, report.frames_without_face) == (0, 1)
    assert report.warnings == ("no face was found in the target; it is unchanged",)
    assert np.array_equal(samples(tmp_path / "in.png"), samples(tmp_path / "out.png"))


def test_quality(swap: Callable[..., SwapReport], tmp_path: Path) -> None:
    picture().save(tmp_path / "in.png")
    swap("in.png", "good.jpg", encode=EncodeOptions(quality=98))
    swap("in.png", "poor.jpg", encode=EncodeOptions(quality=20))
    sizes = [(tmp_path / name).stat().st_size for name in ("good.jpg", "poor.jpg")]
    assert sizes[0] > 2 * sizes[1]
    for output, quality in (("out.png", 50), ("out.jpg", 0)):
        with pytest.raises(OptionError, match=f"quality is {quality}"):
            swap("in.png", output, encode=EncodeOptions(quality=quality))
    assert not list(tmp_path.glob("*out*"))
