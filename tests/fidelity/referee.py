"""What a file holds, as the ffprobe of another build of FFmpeg says, and what differs between two.

ffswap reads and writes with the library that comes with PyAV; the referee is a program of its own
and of another version, installed with ``make ffmpeg``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.sidedata.sidedata import Type as SideData

__all__ = ["Facts", "differences", "facts", "likeness", "program", "run"]

# Tags that say who wrote a file and how large its streams are: every muxer writes its own.
OWN_TAGS = {
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "vendor_id",
    "duration",
    "software",
}

STREAM_FIELDS = (
    "codec_type", "codec_name", "width", "height", "pix_fmt", "sample_aspect_ratio", "color_range",
    "color_space", "color_transfer", "color_primaries", "chroma_location", "field_order",
    "sample_rate", "channels", "channel_layout", "sample_fmt", "r_frame_rate", "avg_frame_rate",
)  # fmt: skip

FRAME_FIELDS = ("interlaced_frame", "top_field_first", "repeat_pict")


@dataclass
class Facts:
    """Everything about a file that must be the same afterwards.

    Attributes:
        streams: fields of every stream, in order, with tags, dispositions and side data.
        frames: of the video that is edited: time in seconds, then `FRAME_FIELDS`.
        side_data: of every one of them, such as captions and HDR metadata.
        packets: of every other stream: time and digest.
        chapters: start, end, title.
        tags: of the file.
        orientation: of the picture, see `orientation`.
        programs: of a transport stream: their tags and streams.
    """

    streams: list[dict[str, Any]] = field(default_factory=list)
    frames: list[tuple[Any, ...]] = field(default_factory=list)
    side_data: list[list[dict[str, Any]]] = field(default_factory=list)
    packets: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)
    chapters: list[tuple[Any, ...]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    orientation: bytes | None = None
    programs: list[Any] = field(default_factory=list)


def program(name: str) -> str | None:
    """Where the program is, or None."""
    return shutil.which(name)


def run(*command: str | Path) -> str:
    """What a program prints; an error of it is an error of the test.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode < 0:  # it crashed: libvpx does once in some thousand times
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr[-2000:]}")
    return done.stdout


def orientation(path: Path) -> bytes | None:
    """The display matrix without its offsets, read with PyAV: the program misses it in Matroska."""
    with av.open(str(path)) as file:
        frame: Any = next(file.decode(file.streams.video[0]))
        matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    return None if matrix is None else bytes(matrix)[:24]


def _tags(of: dict[str, Any]) -> dict[str, str]:
    return {
        key.lower(): value
        for key, value in of.get("tags", {}).items()
        if key.lower() not in OWN_TAGS and not key.startswith("_STATISTICS")
    }


def _side_data(of: dict[str, Any]) -> list[dict[str, Any]]:
    found = [dict(one) for one in of.get("side_data_list", [])]
    # the encoder's name, its rate control, and what the codec of MPEG-2 repeats for every group
    ignored = (
        "H.26[45] User Data Unregistered SEI message", "CPB properties", "AVPanScan",
        "GOP timecode",
    )  # fmt: skip
    return sorted(
        (one for one in found if one["side_data_type"] not in ignored),
        key=lambda one: str(one["side_data_type"]),
    )


def _seconds(of: dict[str, Any], key: str, base: Fraction) -> Fraction | None:
    return of[key] * base if key in of else None


def facts(path: Path) -> Facts:
    """Read a file with ffprobe."""
    said = json.loads(
        run(
            "ffprobe", "-v", "error", "-of", "json", "-show_data_hash", "md5", "-show_streams",
            "-show_format", "-show_chapters", "-show_packets", "-show_frames", "-show_programs",
            f"file:{path}",
        )
    )  # fmt: skip
    found = Facts(tags=_tags(said["format"]), orientation=orientation(path))
    covers = {s["index"] for s in said["streams"] if s["disposition"].get("attached_pic")}
    bases = {s["index"]: Fraction(s["time_base"]) for s in said["streams"]}
    video = [s["index"] for s in said["streams"] if s["codec_type"] == "video"]
    edited = next(index for index in video if index not in covers)
    for stream in said["streams"]:
        one = {key: stream[key] for key in STREAM_FIELDS if key in stream}
        if one.get("sample_aspect_ratio") == "1:1":  # the same as nothing said
            del one["sample_aspect_ratio"]
        one["disposition"] = sorted(key for key, on in stream["disposition"].items() if on)
        one["tags"], one["side_data"] = _tags(stream), _side_data(stream)
        if said["format"]["format_name"] == "mpegts":
            one["id"] = stream["id"]
        if stream["codec_type"] == "attachment":
            one["data"] = stream.get("extradata_hash")
        found.streams.append(one)
    for item in said.get("packets_and_frames", said.get("packets", [])):
        index = item.get("stream_index")
        if index is None:  # a decoded subtitle, whose packets are compared
            continue
        base = bases[index]
        if item["type"] == "packet" and index != edited:
            when = _seconds(item, "pts", base)
            row = (when, item["data_hash"])
            found.packets.setdefault(index, []).append(row)
        elif item["type"] == "frame" and index == edited:
            fields = tuple(item.get(key) for key in FRAME_FIELDS)
            found.frames.append((_seconds(item, "pts", base), *fields))
            found.side_data.append(_side_data(item))
    for chapter in said["chapters"]:
        base = Fraction(chapter["time_base"])
        times = (_seconds(chapter, "start", base), _seconds(chapter, "end", base))
        found.chapters.append((*times, chapter.get("tags", {}).get("title")))
    for one in said.get("programs", []):
        found.programs.append((one["program_id"], _tags(one), [s["index"] for s in one["streams"]]))
    return found


def _compared(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{name} {key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def differences(before: Facts, after: Facts) -> list[str]:
    """All in which two files differ, in words; empty: in nothing that is looked at."""
    found = _compared("file", before.tags, after.tags)
    if before.orientation != after.orientation:
        found.append("orientation")
    if len(before.streams) != len(after.streams):
        kinds = [[f"{s['codec_type']} {s.get('codec_name')}" for s in f.streams] for f in (before, after)]  # fmt: skip
        return [*found, f"streams: {', '.join(kinds[0])} -> {', '.join(kinds[1])}"]
    for i, (one, other) in enumerate(zip(before.streams, after.streams, strict=True)):
        found += _compared(f"stream {i}", one, other)
    for name in ("frames", "chapters", "programs"):
        found += _lists(name, getattr(before, name), getattr(after, name))
    # an encoder may say more than was said before, such as that a stereoscopic tag is for each frame
    lost = [
        (i, one)
        for i, (had, has) in enumerate(zip(before.side_data, after.side_data, strict=False))
        for one in had
        if one not in has
    ]
    found += [f"side data of {len(lost)} frames: {lost[0][1]} of frame {lost[0][0]}"] if lost else []  # fmt: skip
    for index in sorted({*before.packets, *after.packets}):
        rows = (before.packets.get(index, []), after.packets.get(index, []))
        found += _lists(f"packets of {index}", *rows)
    return found


def _lists(name: str, before: list[Any], after: list[Any]) -> list[str]:
    if len(before) != len(after):
        return [f"{name}: {len(before)} -> {len(after)}"]
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    return [f"{name}, {len(pairs)} of them, such as {pairs[0][0]} -> {pairs[0][1]}"] if pairs else []  # fmt: skip


def likeness(before: Path, after: Path) -> float:
    """How much the decoded pictures of two files are alike: PSNR of all samples in decibels."""
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-i", before, "-i", after, "-lavfi",
         "[0:v:0]setpts=N/TB[a];[1:v:0]setpts=N/TB[b];[a][b]psnr", "-f", "null", "-"],
        capture_output=True, text=True,
    )  # fmt: skip
    found = re.search(r"PSNR .*average:(\S+)", done.stderr)
    if found is None:
        raise RuntimeError(done.stderr[-2000:])
    return float(found[1])
