"""Pictures: reading, exact conversion there and back, writing."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ffswap.errors import (
    InputMissingError,
    MediaError,
    OptionError,
    OutputExistsError,
    OutputFormatError,
    OutputWriteError,
)
from ffswap.media import (
    Picture,
    picture_frames,
    picture_from_frames,
    probe,
    read_picture,
    write_picture,
)


def noise(height: int = 40, width: int = 30) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def unequal(picture: Picture) -> tuple[Any, Any]:
    """A frame and planes that differ from it everywhere."""
    frames = picture_frames(picture)
    return [plane ^ 1 for plane in frames.planes[0]], frames


def test_every_8_bit_colour_survives() -> None:
    levels = np.arange(256, dtype=np.uint8)
    for red in range(256):
        rgb = np.empty((256, 256, 3), np.uint8)
        rgb[..., 0], rgb[..., 1], rgb[..., 2] = red, levels[:, None], levels[None, :]
        picture = Picture(rgb=rgb)
        before, after = unequal(picture)
        back = picture_from_frames(replace(picture, rgb=np.zeros_like(rgb)), before, after)
        assert np.array_equal(back.rgb, rgb), red


def test_only_edited_pixels_are_converted_back() -> None:
    picture = Picture(rgb=noise(), alpha=np.full((40, 30), 7, np.uint8), icc=b"i", exif=b"e")
    frames = picture_frames(picture)
    assert repr(frames).startswith("Frames(1 x 30x40 yuv444p16le")
    before = [plane.copy() for plane in frames.planes[0]]
    assert np.array_equal(picture_from_frames(picture, before, frames).rgb, picture.rgb)
    frames.planes[0][0][5, 6] = 65535
    frames.planes[0][1][5, 6] = frames.planes[0][2][5, 6] = 32768
    frames.planes[0][2][7, 8] ^= 1
    edited = picture_from_frames(picture, before, frames)
    assert edited.rgb[5, 6].tolist() == [255, 255, 255]
    changed = (edited.rgb != picture.rgb).any(axis=2)
    changed[5, 6] = changed[7, 8] = False
    assert not changed.any()
    assert (edited.alpha, edited.icc, edited.exif) == (picture.alpha, b"i", b"e")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".tif"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / ("a" + suffix)
    write_picture(path, Picture(rgb=noise()))
    got = read_picture(path)
    assert np.array_equal(got.rgb, noise())
    assert got.alpha is None
    assert got.warnings == ()
    assert probe(path).is_picture


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats(tmp_path: Path, suffix: str) -> None:
    smooth = np.zeros((64, 64, 3), np.uint8)
    smooth[..., 0] = np.arange(64) * 4
    smooth[..., 2] = 255 - np.arange(64)[:, None] * 3
    write_picture(tmp_path / ("a" + suffix), Picture(rgb=smooth))
    write_picture(tmp_path / ("b" + suffix), Picture(rgb=smooth), quality=20)
    got = read_picture(tmp_path / ("a" + suffix))
    assert np.abs(got.rgb.astype(int) - smooth).mean() < 2.5
    sizes = [(tmp_path / (n + suffix)).stat().st_size for n in "ab"]
    assert sizes[0] > sizes[1]


def test_jpeg_has_full_colour_resolution(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", Picture(rgb=noise()))
    with Image.open(tmp_path / "a.jpg") as image:
        assert [part[1:3] for part in image.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_alpha_is_kept(tmp_path: Path, suffix: str) -> None:
    alpha = np.arange(1200, dtype=np.uint16).reshape(40, 30).astype(np.uint8)
    write_picture(tmp_path / ("a" + suffix), Picture(rgb=noise(), alpha=alpha))
    got = read_picture(tmp_path / ("a" + suffix))
    assert got.alpha is not None
    assert np.array_equal(got.alpha, alpha)


def test_alpha_that_a_format_cannot_hold(tmp_path: Path) -> None:
    clear = Picture(rgb=noise(), alpha=np.zeros((40, 30), np.uint8))
    with pytest.raises(OutputFormatError, match="transparency"):
        write_picture(tmp_path / "a.jpg", clear)
    assert list(tmp_path.iterdir()) == []
    opaque = Picture(rgb=noise(), alpha=np.full((40, 30), 255, np.uint8))
    write_picture(tmp_path / "a.jpg", opaque)
    assert read_picture(tmp_path / "a.jpg").alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=exif)
    got = read_picture(tmp_path / "a.png")
    a = noise()
    want = {
        1: a, 2: a[:, ::-1], 3: a[::-1, ::-1], 4: a[::-1],
        5: a.transpose(1, 0, 2), 6: np.rot90(a, -1),
        7: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90(a),
    }[orientation]  # fmt: skip
    assert np.array_equal(got.rgb, want)
    write_picture(tmp_path / "b.jpg", got)
    with Image.open(tmp_path / "b.jpg") as image:
        again = image.getexif()
    assert again.get(0x0112, 1) == 1
    assert again[0x010F] == "a maker"


def test_profile_is_kept(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.png", icc_profile=b"a profile")
    got = read_picture(tmp_path / "a.png")
    assert got.icc == b"a profile"
    write_picture(tmp_path / "b.webp", got)
    assert read_picture(tmp_path / "b.webp").icc == b"a profile"


def test_grey_and_palette_lose_nothing(tmp_path: Path) -> None:
    grey = noise()[..., 0]
    Image.fromarray(grey).save(tmp_path / "l.png")
    got = read_picture(tmp_path / "l.png")
    assert np.array_equal(got.rgb, np.repeat(grey[..., None], 3, axis=2))
    few = Image.fromarray(noise()).quantize(16)
    few.save(tmp_path / "p.png")
    assert np.array_equal(read_picture(tmp_path / "p.png").rgb, np.array(few.convert("RGB")))
    assert got.warnings == read_picture(tmp_path / "p.png").warnings == ()


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    deep = (np.arange(1200, dtype=np.uint16) * 50).reshape(40, 30)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    got = read_picture(tmp_path / "deep.png")
    assert "8 bits" in got.warnings[0]
    assert np.abs(got.rgb[..., 0] - deep / 257).max() <= 0.51
    Image.fromarray(noise()).convert("CMYK").save(tmp_path / "c.jpg", icc_profile=b"cmyk")
    got = read_picture(tmp_path / "c.jpg")
    assert "CMYK" in got.warnings[0]
    assert got.icc is None


def test_deep_rgb_png_is_said_to_lose_bits(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", *range(0, 60000, 10000)) for _ in range(3))

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 2, 3, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip
    got = read_picture(tmp_path / "a.png")
    assert got.rgb.shape == (3, 2, 3)
    assert "8 bits" in got.warnings[0]


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((20, 20, 3), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    got = read_picture(tmp_path / "a.png")
    assert got.rgb[0, 0, 0] == 10
    assert "animated" in got.warnings[0]


def test_errors_on_reading(clip: Any, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(InputMissingError, match="is a folder"):
        read_picture(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediaError, match="is empty"):
        read_picture(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(MediaError, match="not a picture"):
        read_picture(tmp_path / "text.png")
    video = clip("video.mp4", frames=2)
    with pytest.raises(MediaError, match="mov video; give a picture"):
        read_picture(video)
    write_picture(tmp_path / "a.png", Picture(rgb=noise()))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match="damaged"):
        read_picture(tmp_path / "cut.png")


def test_errors_on_writing(tmp_path: Path) -> None:
    picture = Picture(rgb=noise())
    with pytest.raises(OutputFormatError, match=r"\.png"):
        write_picture(tmp_path / "a.xyz", picture)
    with pytest.raises(OptionError, match="1 to 100"):
        write_picture(tmp_path / "a.jpg", picture, quality=101)
    with pytest.raises(OptionError, match="lossless"):
        write_picture(tmp_path / "a.png", picture, quality=90)
    with pytest.raises(OutputWriteError, match="no folder"):
        write_picture(tmp_path / "none" / "a.png", picture)
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        write_picture(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    write_picture(tmp_path / "a.png", picture, overwrite=True)
    assert np.array_equal(read_picture(tmp_path / "a.png").rgb, noise())
    wide = Picture(rgb=np.zeros((1, 70000, 3), np.uint8))
    with pytest.raises(OutputFormatError, match="cannot hold this picture"):
        write_picture(tmp_path / "wide.jpg", wide)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.png"]
