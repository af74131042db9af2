"""What the known video encoders and containers take. Ranges and names are those of FFmpeg 8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..files import PathLike
from ._files import by_suffix

__all__ = ["CONTAINERS", "ENCODERS", "QSCALE_UNIT", "Container", "Encoder", "container_of"]

_X26X = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
_NVENC = tuple(f"p{n}" for n in range(1, 8))
_X265_QUIET = {"x265-params": "log-level=error"}

# FFmpeg's quantiser scale unit (FF_QP2LAMBDA in libavutil/avutil.h).
QSCALE_UNIT = 118


@dataclass(frozen=True)
class Encoder:
    """How one encoder is told what to do.

    Attributes:
        codec: of the stream that it makes.
        quality_option: its option for constant quality, or None if it has none; ``qmin`` stands for
            a fixed quantiser, ``qscale`` for the flag of that name.
        quality: least and greatest value of it, lower is better.
        default_quality: visually close to the source.
        preset_option: its option for speed, or None.
        presets: what that takes.
        default_preset: what is used when nothing is asked for.
        extra: options that are always set.
        fields_of: the height must be a multiple of this for interlaced video to be marked as such;
            0: it cannot be.
        bitrate: can be told how many bits per second to make.
        profiles: options that go with a pixel format.
        profile_names: FFmpeg's words for the profile of a stream and the encoder's own for it.
    """

    codec: str
    quality_option: str | None = None
    quality: tuple[int, int] = (0, 0)
    default_quality: int = 0
    preset_option: str | None = None
    presets: tuple[str, ...] = ()
    default_preset: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    fields_of: int = 0
    bitrate: bool = True
    profiles: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    profile_names: Mapping[str, str] = field(default_factory=dict)


_H264_PROFILES = {
    "Constrained Baseline": "baseline", "Baseline": "baseline", "Main": "main", "High": "high",
}  # fmt: skip
_PRORES_PROFILES = {
    "Proxy": "proxy", "LT": "lt", "Standard": "standard", "HQ": "hq", "4444": "4444",
    "XQ": "4444xq",
}  # fmt: skip
_DNXHR_PROFILES = {"DNXHR LB": "dnxhr_lb", "DNXHR SQ": "dnxhr_sq", "DNXHR HQ": "dnxhr_hq"}


def _nvenc(codec: str) -> Encoder:
    top = 63 if codec == "av1" else 51
    extra = (("rc", "vbr"), ("b", "0"))
    return Encoder(codec, "cq", (0, top), 19, "preset", _NVENC, "p4", extra)


# Of the encoders of one codec the first is the one that is taken when nothing is asked for.
ENCODERS: dict[str, Encoder] = {
    "libx264": Encoder(
        "h264", "crf", (0, 51), 18, "preset", _X26X, "veryfast", fields_of=4,
        profile_names=_H264_PROFILES,
    ),
    "libx265": Encoder(
        "hevc", "crf", (0, 51), 20, "preset", _X26X, "veryfast", tuple(_X265_QUIET.items())
    ),
    "libsvtav1": Encoder(
        "av1", "crf", (0, 63), 24, "preset", tuple(str(n) for n in range(14)), "8"
    ),
    "libvpx-vp9": Encoder(
        "vp9", "crf", (0, 63), 24, "cpu-used", tuple(str(n) for n in range(9)), "5",
        (("b", "0"), ("deadline", "good"), ("row-mt", "1")),
    ),
    # Its constant quality works below a bit rate only: one that no clip reaches.
    "libvpx": Encoder(
        "vp8", "crf", (4, 63), 8, "cpu-used", tuple(str(n) for n in range(17)), "4",
        (("b", "100000000"), ("deadline", "good")),
    ),
    "ffv1": Encoder("ffv1", extra=(("level", "3"), ("slicecrc", "1")), fields_of=1, bitrate=False),
    "prores_ks": Encoder(
        "prores", "qscale", (1, 31), 4, extra=(("vendor", "apl0"),), fields_of=2, bitrate=False,
        profile_names=_PRORES_PROFILES,
    ),
    "dnxhd": Encoder(
        "dnxhd", bitrate=False, profile_names=_DNXHR_PROFILES, profiles={
            "yuv422p": (("profile", "dnxhr_hq"),), "yuv422p10le": (("profile", "dnxhr_hqx"),),
            "yuv444p10le": (("profile", "dnxhr_444"),),
        },
    ),
    "mpeg4": Encoder("mpeg4", "qmin", (1, 31), 2, fields_of=4),
    "mpeg2video": Encoder("mpeg2video", "qmin", (1, 31), 2, fields_of=2),
    "mjpeg": Encoder("mjpeg", "qmin", (1, 31), 2, extra=(("strict", "unofficial"),)),
    "h264_nvenc": _nvenc("h264"),
    "hevc_nvenc": _nvenc("hevc"),
    "av1_nvenc": _nvenc("av1"),
}  # fmt: skip


@dataclass(frozen=True)
class Container:
    """What one output format takes.

    Attributes:
        format: FFmpeg's name of the muxer.
        codecs: video codecs that it holds and that players understand in it.
        encoder: used for 8-bit video when nothing is asked for and the codec of the input has none,
            or has no place in the container.
        deep_encoder: the same for more than 8 bits.
        options: of the muxer.
        fixed_rate: frames have no time of their own but follow at a fixed rate.
        attachments: can hold attached files.
    """

    format: str
    codecs: frozenset[str]
    encoder: str = "libx264"
    deep_encoder: str = "libx265"
    options: tuple[tuple[str, str], ...] = ()
    fixed_rate: bool = False
    attachments: bool = False


_ALL = frozenset(encoder.codec for encoder in ENCODERS.values())
_FAST_START = (("movflags", "+faststart"),)
_MP4 = Container("mp4", _ALL - {"prores", "ffv1", "dnxhd", "vp8"}, options=_FAST_START)
_MOV = Container("mov", _ALL - {"vp8", "vp9", "av1", "ffv1"}, options=_FAST_START)
_MKV = Container("matroska", _ALL, attachments=True)
_WEBM = Container("webm", frozenset({"vp8", "vp9", "av1"}), "libvpx-vp9", "libsvtav1")
_AVI = Container(
    "avi", frozenset({"h264", "mpeg4", "mpeg2video", "mjpeg", "ffv1"}), deep_encoder="libx264",
    fixed_rate=True,
)  # fmt: skip
_TS = Container("mpegts", frozenset({"h264", "hevc", "mpeg2video"}))
_FLV = Container("flv", frozenset({"h264"}), deep_encoder="libx264")

CONTAINERS: dict[str, Container] = {
    ".avi": _AVI,
    ".flv": _FLV,
    ".m2ts": _TS,
    ".m4v": _MP4,
    ".mkv": _MKV,
    ".mov": _MOV,
    ".mp4": _MP4,
    ".mts": _TS,
    ".ts": _TS,
    ".webm": _WEBM,
}


def container_of(path: PathLike) -> Container:
    """The output format that the suffix of a file name asks for.

    Raises:
        OutputFormatError: no known one.
    """
    return by_suffix(path, CONTAINERS, "file name")
