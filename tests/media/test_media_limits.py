"""What is too large or too long is refused by what it says of itself, before memory is taken for it."""

from __future__ import annotations

import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffswap.carriers import Frames
from ffswap.errors import MediaError, OptionError
from ffswap.media import ClipReader, probe, read_picture
from ffswap.media._limits import declared_size, pillow_limit
from ffswap.options import LimitOptions, Position
from tests.media.media_clips import Clip

SMALL = LimitOptions(megapixels=0.003)  # 64 x 48 are 3072 pixels


def grey_png(path: Path, side: int) -> Path:
    """A whole picture of one grey, of some kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9"), ("a.avi", "mjpeg"),
     ("a.ts", "mpeg2video"), ("b.mp4", "libx265")],
)  # fmt: skip
def test_a_clip_of_larger_frames_is_refused(tmp_path: Path, name: str, encoder: str) -> None:
    pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    path = Clip(tmp_path / name, encoder=encoder, options=options, frames=3, pix_fmt=pix_fmt).make()
    assert probe(path, LimitOptions(megapixels=0.0031)).width == 64
    with pytest.raises(MediaError, match=r"has 64x48 pixels, 0\.003072 megapixels; allowed: 0\.003") as caught:  # fmt: skip
        probe(path, SMALL)
    assert "--max-megapixels 1" in str(caught.value.hint)
    with pytest.raises(MediaError, match="megapixels; allowed"):
        ClipReader(path, limits=SMALL)


def test_a_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    assert read_picture(path, LimitOptions(megapixels=0.0031)).rgb.shape == (48, 64, 3)
    with pytest.raises(MediaError, match="has 64x48 pixels"):
        read_picture(path, SMALL)
    path.write_bytes(path.read_bytes()[:60])  # of the samples there is next to nothing
    with pytest.raises(MediaError, match="has 64x48 pixels"):
        read_picture(path, SMALL)


def test_a_bomb_is_neither_decoded_as_a_picture_nor_as_a_clip(tmp_path: Path) -> None:
    bomb = grey_png(tmp_path / "bomb.png", 11_000)
    assert bomb.stat().st_size < 1_000_000
    for read in (read_picture, probe):
        with pytest.raises(MediaError, match=r"has 11000x11000 pixels, 121 megapixels; allowed: 100") as caught:  # fmt: skip
            read(bomb)
        assert "--max-megapixels 121" in str(caught.value.hint)


def test_more_pixels_than_pillow_thinks_safe_are_read_when_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = grey_png(tmp_path / "a.png", 64)  # twice that would be its error, and not its warning
    assert read_picture(path).rgb.shape == (64, 64, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_the_limit_of_pillow_comes_back_after_an_error() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(FileNotFoundError), pillow_limit(None):
        Image.open("no such file")
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_clip_that_says_it_lasts_for_days_is_refused_unless_a_part_is_asked_for(
    tmp_path: Path,
) -> None:
    day = 25 * 3600 * 24
    path = Clip(tmp_path / "a.mkv", encoder="ffv1", options={}, pts=[0, 1, 2, 2 * day]).make()
    with pytest.raises(MediaError, match=r"says that it lasts 48 hours; allowed: 24") as caught:
        ClipReader(path)
    assert "--max-hours 49" in str(caught.value.hint)
    with ClipReader(path, end=Position(frame=3)) as reader:
        assert sum(len(item) for item in reader if isinstance(item, Frames)) == 3
    with ClipReader(path, limits=LimitOptions(hours=49)) as reader:
        assert sum(len(item) for item in reader if isinstance(item, Frames)) == 4


def test_a_frame_years_after_the_first_ends_the_reading(tmp_path: Path) -> None:
    path = Clip(
        tmp_path / "a.mkv", encoder="ffv1", options={}, frames=4, pts=[0, 1, 25, 250]
    ).make()
    with (
        ClipReader(path, start=Position(seconds=Fraction(0)), limits=LimitOptions(hours=5 / 3600)) as reader,
        pytest.raises(MediaError, match=r"has a frame 0\.002778 hours after its first one") as caught,
    ):  # fmt: skip
        list(reader)
    assert caught.value.frame == 3


@pytest.mark.parametrize("value", [0, -1, 1e9, float("nan")])
def test_limits_have_limits(value: float) -> None:
    with pytest.raises(
        OptionError, match=r"max_megapixels is .*; allowed: more than 0, at most 1000"
    ):
        LimitOptions(megapixels=value)
    with pytest.raises(OptionError, match=r"max_hours is .*; allowed: more than 0, at most 8784"):
        LimitOptions(hours=value)


def test_a_tiff_whose_next_picture_has_no_size_is_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, len(data))
    path.write_bytes(data + struct.pack("<HHHIII", 1, 270, 2, 1, 0, 0))
    with pytest.raises(MediaError, match=r"is a damaged picture \(Missing dimensions\)"):
        read_picture(path)


def test_damaged_exif_is_not_told_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    torn = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x1a\x01\x05\0"  # five entries, and not one is whole
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path, exif=torn)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert declared_size(path) == (64, 48)
    assert not told
    with pytest.warns(UserWarning, match="EXIF"):  # what Pillow has to say of it
        Image.open(path).close()
