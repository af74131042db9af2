"""Where the credentials of a file lie: inside it, or in a file beside it."""

from __future__ import annotations

from pathlib import Path

from ..files import PathLike

__all__ = ["ANY_BYTES", "embeds", "mime_type", "sidecar_of", "sniff"]

ANY_BYTES = "application/octet-stream"
"""Hashed as it is, from its first byte to its last."""

# Suffixes of outputs that hold their credentials themselves.
_EMBEDDED = {
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
# AVI could hold them, too. But beyond 1 GB it goes on in further RIFF chunks, which c2pa-rs 0.91 does
# not know and would leave out.
_BESIDE = {
    ".avi": "video/x-msvideo",
    ".bmp": "image/bmp",
    ".flv": "video/x-flv",
    ".m2ts": "video/mp2t",
    ".mkv": "video/x-matroska",
    ".mts": "video/mp2t",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
}

_HEAD_BYTES = 12


def embeds(path: PathLike) -> bool:
    """Whether an output of this name holds its credentials itself."""
    return Path(path).suffix.lower() in _EMBEDDED


def mime_type(path: PathLike) -> str:
    """Of an output, by the suffix of its name."""
    suffix = Path(path).suffix.lower()
    return (_EMBEDDED | _BESIDE).get(suffix, ANY_BYTES)


def sidecar_of(path: PathLike) -> Path:
    """The file beside another that holds its credentials: ``out.mkv.c2pa`` of ``out.mkv``.

    The whole name is kept, so that ``out.mkv`` and ``out.webm`` do not share one.
    """
    path = Path(path)
    return path.with_name(f"{path.name}.c2pa")


def sniff(path: Path) -> str | None:
    """The format of a file that may hold credentials itself, by its first bytes; None: it cannot.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:10] == b"qt" else "video/mp4"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    starts = {
        b"\xff\xd8\xff": "image/jpeg",
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"II*\0": "image/tiff",
        b"MM\0*": "image/tiff",
    }
    return next((kind for start, kind in starts.items() if head.startswith(start)), None)
