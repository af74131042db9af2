"""Still pictures: read, turned upright, as frames and back, written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..carriers import Colour, Frames, PixelFormat, Plane
from ..errors import FfswapError, MediaError, OptionError, OutputFormatError
from ..files import PathLike, PendingFile, Seal, check_input, write_error
from ..options import LimitOptions
from ._files import by_suffix
from ._limits import PICTURE_DAMAGE, check_size, pillow_limit
from .probe import probe

__all__ = [
    "Picture",
    "encode_png",
    "is_picture_name",
    "picture_frames",
    "picture_from_frames",
    "read_picture",
    "write_picture",
]

U8: TypeAlias = NDArray[np.uint8]

_ALLOWED = "a picture such as jpg, png, webp, bmp or tiff"

# Suffix -> Pillow's name of the format.
_FORMATS = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_WITH_ALPHA = frozenset({"PNG", "WEBP", "TIFF"})
_JPEG_QUALITY = 95  # of Pillow's scale, with 4:4:4: differences of a level or two
_WEBP_QUALITY = 95

# 16 bits hold every 8-bit colour: one step of RGB is 257 of these.
_FORMAT = PixelFormat("yuv444p16le", 16, 0, 0)
_COLOUR = Colour(full_range=True, transfer="iec61966-2-1")
_ROWS = 256  # converted at a time, which bounds the memory for intermediate values


@dataclass(frozen=True)
class Picture:
    """A still picture, upright.

    Attributes:
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8, or None.
        icc: colour profile, or None.
        exif: metadata with the orientation removed, or None.
        format: Pillow's name of the file format, such as ``JPEG``.
        warnings: sentences for the user about what was lost on reading.
    """

    rgb: U8
    alpha: U8 | None = None
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    format: str = "PNG"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        height, width = self.rgb.shape[:2]
        if self.rgb.shape != (height, width, 3) or self.rgb.dtype != np.uint8:
            raise OptionError(f"rgb has shape {self.rgb.shape} and type {self.rgb.dtype}")
        if self.alpha is not None and self.alpha.shape != (height, width):
            raise OptionError(f"alpha has shape {self.alpha.shape}, not {(height, width)}")


def read_picture(path: PathLike, limits: LimitOptions | None = None) -> Picture:
    """Read a picture and turn it upright as its EXIF orientation says.

    Args:
        path: of the file.
        limits: what it is refused for being too large; None: the usual ones.

    Raises:
        InputMissingError: no such file, or it is a folder.
        MediaError: no picture, a video, damaged, or larger than the limits.
    """
    file, limits = check_input(path, _ALLOWED, MediaError), limits or LimitOptions()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with pillow_limit(None):
                opened = Image.open(file)
            with opened as image:
                check_size(image.width, image.height, limits, file)
                notes = _losses(image)
                kind = image.format or "PNG"
                image.load()
                profile = image.info.get("icc_profile")
                upright = ImageOps.exif_transpose(image)
                exif = upright.getexif()
                pixels, alpha, same_space = _to_rgb(upright)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise MediaError(f"holds a picture of too many pixels ({error})", file=file) from error
    except UnidentifiedImageError as error:
        raise _no_picture(file, limits) from error
    except FfswapError:
        raise
    except PICTURE_DAMAGE as error:
        raise MediaError(f"is a damaged picture ({error})", file=file) from error
    return Picture(
        rgb=pixels,
        alpha=alpha,
        icc=profile if same_space else None,
        exif=exif.tobytes() if len(exif) else None,
        format=kind,
        warnings=notes,
    )


def _no_picture(file: Path, limits: LimitOptions) -> MediaError:
    try:
        found = probe(file, limits)
    except FfswapError:
        return MediaError(f"is not a picture that can be read; give {_ALLOWED}", file=file)
    kind = "picture" if found.is_picture else "video"
    return MediaError(f"is a {found.container} {kind}; give {_ALLOWED}", file=file)


def _losses(image: Image.Image) -> tuple[str, ...]:
    """What the conversion to 8-bit RGB will lose. Called before the samples are loaded."""
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("the picture is animated: its first frame is used")
    tiles: Any = getattr(image, "tile", None)
    tile: Any = tiles[0] if tiles else ()
    raw = str(tile[3]) if len(tile) > 3 else ""
    if "16" in raw or image.mode.startswith("I") or image.mode == "F":
        notes.append("the picture has more than 8 bits per sample: 8 are kept")
    if image.mode in ("CMYK", "LAB", "HSV"):
        notes.append(f"the picture is converted from {image.mode} to RGB, without its profile")
    return tuple(notes)


def _to_rgb(image: Image.Image) -> tuple[U8, U8 | None, bool]:
    """8-bit samples, alpha, and whether the colour profile still applies."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image, np.float64)
        top = 65535.0 if mode.startswith("I") or values.max(initial=0.0) > 1 else 1.0
        grey = np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2), None, True
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        samples = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(samples[..., :3]), samples[..., 3].copy(), True
    same = mode not in ("CMYK", "LAB", "HSV", "L", "1")
    return np.array(image.convert("RGB")), None, same


def picture_frames(picture: Picture) -> Frames:
    """A picture as one frame, exact: converting back gives the same samples.

    Returns:
        One full-range BT.709 frame in yuv444p16le, pts 0.
    """
    height, width = picture.rgb.shape[:2]
    planes = tuple(np.empty((height, width), np.uint16) for _ in range(3))
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        for plane, values in zip(planes, _to_yuv(picture.rgb[rows]), strict=True):
            plane[rows] = values
    y, cb, cr = planes
    return Frames(
        planes=[(y, cb, cr)],
        format=_FORMAT,
        colour=_COLOUR,
        pts=np.zeros(1, np.int64),
        time_base=Fraction(1, 25),
    )


def _to_yuv(rgb: U8) -> tuple[NDArray[np.uint16], ...]:
    """(H, W, 3) uint8 to three (H, W) uint16 planes, computed in float32."""
    kr, kb = np.float32(_COLOUR.kr), np.float32(_COLOUR.kb)
    red, green, blue = (rgb[..., i].astype(np.float32) / 255 for i in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    offset, span = (np.float32(v) for v in _COLOUR.luma_scale(16))
    centre, reach = (np.float32(v) for v in _COLOUR.chroma_scale(16))
    parts = (
        offset + span * luma,
        centre + reach * (blue - luma) / (2 * (1 - kb)),
        centre + reach * (red - luma) / (2 * (1 - kr)),
    )
    return tuple(np.clip(np.rint(part), 0, 65535).astype(np.uint16) for part in parts)


def _to_samples(y: Plane, cb: Plane, cr: Plane) -> U8:
    """Code values of `_FORMAT`, any shape S each, to (*S, 3) uint8."""
    kr, kb = np.float32(_COLOUR.kr), np.float32(_COLOUR.kb)
    offset, span = (np.float32(v) for v in _COLOUR.luma_scale(16))
    centre, reach = (np.float32(v) for v in _COLOUR.chroma_scale(16))
    luma = (y.astype(np.float32) - offset) / span
    red = luma + 2 * (1 - kr) * (cr.astype(np.float32) - centre) / reach
    blue = luma + 2 * (1 - kb) * (cb.astype(np.float32) - centre) / reach
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    rgb = np.stack([red, green, blue], axis=-1)
    samples: U8 = np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)
    return samples


def picture_from_frames(picture: Picture, before: Sequence[Plane], after: Frames) -> Picture:
    """The picture with the edits of its frame; pixels without one stay bit for bit.

    Args:
        picture: as read.
        before: copies of the three planes that `picture_frames` gave, each (H, W) uint16.
        after: the same frame after the edit.

    Returns:
        A new picture; alpha, profile and metadata are those of `picture`.
    """
    planes = after.planes[0]
    changed = np.zeros(picture.rgb.shape[:2], np.bool_)
    for old, new in zip(before, planes, strict=True):
        changed |= old != new
    rgb = picture.rgb.copy()
    y, cb, cr = (plane[changed] for plane in planes)
    rgb[changed] = _to_samples(y, cb, cr)
    return replace(picture, rgb=rgb)


def picture_format(path: PathLike) -> str:
    """Pillow's name of the format that the suffix of a file name asks for.

    Raises:
        OutputFormatError: no known one.
    """
    return by_suffix(path, _FORMATS, "picture")


def is_picture_name(path: PathLike) -> bool:
    """Whether the suffix of a file name is that of a picture that can be read."""
    return Path(path).suffix.lower() in _FORMATS


def write_picture(
    path: PathLike,
    picture: Picture,
    *,
    quality: int | None = None,
    overwrite: bool = False,
    seal: Seal | None = None,
) -> None:
    """Write a picture; it appears under its name when it is complete.

    Args:
        path: of the output; the suffix names the format.
        picture: what to write.
        quality: 1 to 100 for jpg and webp; None: 95. The other formats are lossless.
        overwrite: replace the output if it exists.
        seal: called with the complete file before it gets its name; it may change it, or fail.

    Raises:
        FfswapError: whatever the seal raised.
        OptionError: a quality out of range, or for a lossless format.
        OutputFormatError: an unknown format, or one that cannot hold the alpha channel or size.
        OutputExistsError: the output exists and `overwrite` is false.
        OutputWriteError: the folder is missing, cannot be written to, or is full.
    """
    kind = picture_format(path)
    options = _save_options(kind, picture, quality)
    channels = picture.rgb
    clear = picture.alpha is not None and not (picture.alpha == 255).all()
    if clear and kind not in _WITH_ALPHA:
        raise OutputFormatError(
                f"{kind} cannot hold the picture's transparency", file=path,
                hint="write .png, .webp or .tiff",
            )  # fmt: skip
    if picture.alpha is not None and kind in _WITH_ALPHA:
        channels = np.dstack([picture.rgb, picture.alpha])
    pending = PendingFile(path, overwrite=overwrite)
    try:
        Image.fromarray(np.ascontiguousarray(channels)).save(
            pending.temporary, format=kind, **options
        )
        if seal is not None:
            seal(pending)
        pending.commit()
    except FfswapError:
        raise
    except OSError as error:
        if error.errno is None:  # Pillow's own way to say that an encoder refused
            raise OutputFormatError(
                f"{kind} cannot hold this picture ({error})", file=path
            ) from error
        raise write_error(error, path) from error
    except ValueError as error:
        raise OutputFormatError(f"{kind} cannot hold this picture ({error})", file=path) from error
    finally:
        pending.discard()


def encode_png(rgb: U8) -> bytes:
    """A picture, (H, W, 3) uint8, as the bytes of a PNG file."""
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, format="PNG")
    return data.getvalue()


def _save_options(kind: str, picture: Picture, quality: int | None) -> dict[str, Any]:
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"quality is {quality}; allowed for pictures: 1 to 100")
    if quality is not None and kind not in ("JPEG", "WEBP"):
        raise OptionError(f"quality is {quality}, but {kind} is lossless and takes none")
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"quality": quality or _JPEG_QUALITY, "subsampling": 0}
    elif kind == "WEBP":
        options = {"quality": quality or _WEBP_QUALITY, "method": 4, "exact": True}
    elif kind == "TIFF":
        options = {"compression": "tiff_deflate"}
    if kind != "BMP":
        if picture.icc is not None:
            options["icc_profile"] = picture.icc
        if picture.exif is not None:
            options["exif"] = picture.exif
    return options
