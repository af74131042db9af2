"""Sound files to begin with: tiny clips, pictures, nets and tables of every form that ffswap reads."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from ffswap.engines.store import EngineStore
from ffswap.models.catalog import load_catalog, parse_catalog
from ffswap.models.store import ModelStore
from tests.engines.engine_samples import install, key
from tests.known_answers import restorer
from tests.media.media_clips import Clip
from tests.pipeline.face_clips import FaceClip, Place, astronaut, hopper
from tests.provenance.signed_files import media, sign

__all__ = [
    "CATALOGUE",
    "FRAMES",
    "Seed",
    "bombs",
    "clip_seeds",
    "large_clips",
    "picture_seeds",
    "signed_seeds",
    "table_seeds",
]

FRAMES = 6

CATALOGUE = """
urls = ["https://models.example/{file}"]

[templates]
wide = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.5], [0.4, 0.7], [0.6, 0.7]]

[models.toy]
kind = "restorer"
family = "restorer"
file = "toy.onnx"
licence = "MIT"
terms = "open"
vendor = "me"
template = "wide"

[models.toy.image]
name = "input"
layout = "nchw"
size = [64, 64]
colour = "rgb"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]

[models.toy.result]
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
"""

_RECIPE = """
[set]
batches = [1]
precision = "fp32"

[models.toy]
file = "toy.onnx"
samples = "samples.npz"
"""


@dataclass(frozen=True)
class Seed:
    """A sound file.

    Attributes:
        name: with the suffix that its form has.
        data: its bytes.
        frames: that a whole copy of it shows.
    """

    name: str
    data: bytes
    frames: int = 1


# What is not said is as in `Clip`: 64 x 48 pixels, lossless H.264.
_CLIPS: Mapping[str, dict[str, Any]] = {
    "plain.mp4": {},
    "full.mp4": {
        "audio": 1, "subtitles": True, "chapters": True, "rotation": 90,
        "container": {"movflags": "faststart"}, "audio_s": 0.24,
    },
    "offset.mp4": {"pts": [40, 41, 43, 44, 47, 48], "options": {"preset": "medium", "qp": "20"}},
    "fragmented.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"encoder": "libx265", "options": {"x265-params": "log-level=none", "preset": "ultrafast"}},
    "deep.mov": {"pix_fmt": "yuv420p10le", "options": {"preset": "ultrafast", "crf": "20"}},
    "mpeg4.mov": {"encoder": "mpeg4", "options": {}, "audio": 1, "audio_s": 0.2},
    "ffv1.mkv": {"encoder": "ffv1", "options": {}},
    "h264.mkv": {"audio": 2, "audio_s": 0.2, "subtitles": True, "chapters": True},
    "png.mov": {"encoder": "png", "options": {}, "pix_fmt": "rgb24"},
    "vp9.webm": {"encoder": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"encoder": "libvpx", "options": {"deadline": "realtime"}, "audio": 1, "audio_s": 0.2},
    "mpeg4.avi": {"encoder": "mpeg4", "options": {}},
    "mjpeg.avi": {"encoder": "mjpeg", "options": {}, "pix_fmt": "yuvj420p"},
    "h264.ts": {"audio": 1, "audio_s": 0.2},
    "mpeg2.ts": {"encoder": "mpeg2video", "options": {}},
}  # fmt: skip


def clip_seeds(folder: Path) -> list[Seed]:
    """Clips of six frames in every container, one of them with a face."""
    found = []
    for name, recipe in _CLIPS.items():
        path = Clip(folder / name, frames=FRAMES, **recipe).make()
        found.append(Seed(name, path.read_bytes(), FRAMES))
    face = ((astronaut(), Place(64.0, 64.0, 0.5)),)
    path = FaceClip(
        folder / "face.mp4", width=128, height=128, frames=FRAMES, faces=face,
        options={"preset": "ultrafast", "crf": "20"},
    ).make()  # fmt: skip
    found.append(Seed("face.mp4", path.read_bytes(), FRAMES))
    return found


def picture_seeds(folder: Path) -> list[Seed]:
    """A portrait in every picture format, with the extras that these have."""
    folder.mkdir(exist_ok=True)
    portrait = Image.fromarray(hopper().rgb).resize((160, 184))
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a portrait"
    writing: dict[str, dict[str, Any]] = {
        "a.jpg": {"exif": exif, "quality": 80},
        "b.jpg": {"progressive": True, "quality": 70},
        "a.png": {"icc_profile": b"\0" * 128},
        "a.webp": {"quality": 80, "exif": exif},
        "b.webp": {"lossless": True},
        "a.tiff": {"compression": "tiff_lzw"},
        "b.tiff": {"compression": "jpeg"},
        "c.tiff": {},
        "a.bmp": {},
        "a.gif": {},
    }
    for name, options in writing.items():
        portrait.save(folder / name, **options)
    clear = portrait.copy()
    clear.putalpha(128)
    clear.save(folder / "clear.png")
    portrait.quantize(16).save(folder / "few.png")
    return [Seed(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def table_seeds(folder: Path) -> dict[str, Seed]:
    """A net, a catalogue, what a store remembers of it, a recipe, samples and an engine's manifest."""
    folder.mkdir(exist_ok=True)
    spec = parse_catalog(CATALOGUE, load_catalog(None)).models["toy"]
    net = restorer(spec)
    models, engines = ModelStore(folder / "models"), EngineStore(folder / "engines")
    (folder / "toy.onnx").write_bytes(net)
    models.accept(spec)
    models.add(spec, folder / "toy.onnx")
    engines.folder.mkdir()
    install(engines, key())
    (manifest,), (plan,) = engines.folder.glob("*.json"), engines.folder.glob("*.plan")
    samples = folder / "samples.npz"
    np.savez(samples, input=np.zeros((2, 3, 64, 64), np.float32))
    return {
        "net": Seed("toy.onnx", net),
        "catalogue": Seed("catalog.toml", CATALOGUE.encode()),
        "pin": Seed("toy.json", (models.folder / "toy.json").read_bytes()),
        "recipe": Seed("set.toml", _RECIPE.encode()),
        "samples": Seed("samples.npz", samples.read_bytes()),
        "manifest": Seed(manifest.name, manifest.read_bytes()),
        "plan": Seed(plan.name, plan.read_bytes()),
    }


def signed_seeds(folder: Path) -> list[Seed]:
    """Files with content credentials in them, and one with credentials beside it."""
    folder.mkdir(exist_ok=True)
    found = []
    for name in ("signed.mp4", "signed.jpg", "signed.png"):
        whole = media(folder / f"whole-{name}")
        sign(whole, folder / name)
        found.append(Seed(name, (folder / name).read_bytes(), 4 if name.endswith("mp4") else 1))
    sign(media(folder / "whole.mkv"), folder / "beside.mkv")
    found.append(Seed("beside.mkv.c2pa", (folder / "beside.mkv.c2pa").read_bytes()))
    found.append(Seed("beside.mkv", (folder / "beside.mkv").read_bytes(), 4))
    return found


def bombs() -> list[Seed]:
    """Small files that declare, or unpack to, very much."""
    jpg = bytearray(_encoded("JPEG"))
    frame = jpg.index(b"\xff\xc0")
    jpg[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    webp = bytearray(_encoded("WEBP", lossless=False))
    start = webp.index(b"\x9d\x01\x2a")
    webp[start + 3 : start + 7] = struct.pack("<HH", 16383, 16383)
    tiff = bytearray(_encoded("TIFF"))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<H", tag) + struct.pack("<HI", 4, 1))
        tiff[at + 8 : at + 12] = struct.pack("<I", 30000)
    return [
        Seed("bomb.png", _png(30000, 30000)),
        Seed("largest.png", _png(2**31 - 1, 2**31 - 1, whole=False)),
        Seed("bomb.jpg", bytes(jpg)),
        Seed("bomb.webp", bytes(webp)),
        Seed("bomb.tiff", bytes(tiff)),
    ]


def large_clips(folder: Path) -> list[Seed]:
    """Clips whose frames say that they are 16384 x 16384, and clips that last for ages."""
    folder.mkdir(exist_ok=True)
    large = struct.pack(">HH", 16384, 16384)
    found = []
    for name in ("large.mp4", "large.avi", "large.mkv"):
        path = Clip(folder / name, frames=3, encoder="mjpeg", options={}, pix_fmt="yuvj420p").make()
        data = bytearray(path.read_bytes())
        for n in range(len(data) - 9):
            if data[n : n + 2] == b"\xff\xc0" and data[n + 5 : n + 9] == struct.pack(">HH", 48, 64):
                data[n + 5 : n + 9] = large
        found.append(Seed(name, bytes(data), 3))
    path = Clip(folder / "raw.mkv", frames=3, encoder="ffv1", options={}).make()
    data = bytearray(path.read_bytes())
    for sign_, now in ((b"\xb0", 64), (b"\xba", 48)):
        at = data.index(sign_ + b"\x81" + bytes([now]))
        data[at : at + 3] = sign_ + b"\x81" + b"\xff"
    found.append(Seed("raw.mkv", bytes(data), 3))
    for name in ("years.mkv", "years.mp4", "years.avi", "years.ts"):
        long = Clip(
            folder / name, frames=4, pts=[0, 1, 25 * 3600 * 24 * 30, 25 * 3600 * 24 * 31],
            encoder="mpeg4" if name.endswith("avi") else "libx264", options={},
        )  # fmt: skip
        try:
            found.append(Seed(name, long.make().read_bytes(), 4))
        except av.FFmpegError:  # no such times in this container
            continue
    return found


def _encoded(form: str, **options: Any) -> bytes:
    data = BytesIO()
    Image.new("RGB", (160, 184), (90, 120, 60)).save(data, form, **options)
    return data.getvalue()


def _png(width: int, height: int, *, whole: bool = True) -> bytes:
    """A grey picture of one bit per pixel, of zeros; not whole: a row of it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)) if whole else bytes(100), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
