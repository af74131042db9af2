"""Clips of every kind that people have, made by FFmpeg's own program, which ffswap does not use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fidelity import crafted
from tests.fidelity.referee import run

__all__ = ["CONTAINERS", "CORPUS", "Property", "ffmpeg"]

CONTAINERS = ("mp4", "mov", "mkv", "webm", "ts", "avi")

Words = list[str]
Recipe = Callable[[Path, str], None]

H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "12"]
X265 = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-tag:v",
    "hvc1",
    "-x265-params",
    "log-level=error",
]
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "0", "-crf", "30"]
MPEG4 = ["-c:v", "mpeg4", "-q:v", "3"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12"]
FFV1 = ["-c:v", "ffv1", "-level", "3"]

MASTERING = (
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    ":max-cll=1000,400"
)

NOT_AVI = CONTAINERS[:-1]
ISO = ("mp4", "mov")


class Property(NamedTuple):
    """One row of the table.

    Attributes:
        group: heading in the table.
        containers: that can hold it.
        recipe: writes a clip that has it: ``recipe(path, container)``.
    """

    group: str
    containers: tuple[str, ...]
    recipe: Recipe


CORPUS: dict[str, Property] = {}


def has(group: str, name: str, containers: tuple[str, ...] = CONTAINERS) -> Callable[[Recipe], Recipe]:  # fmt: skip
    """Enter a recipe into the corpus."""

    def enter(recipe: Recipe) -> Recipe:
        CORPUS[name] = Property(group, containers, recipe)
        return recipe

    return enter


def ffmpeg(*words: str | Path) -> None:
    """Run FFmpeg's program."""
    run("ffmpeg", "-v", "error", "-y", "-nostdin", *words)


def codec(container: str) -> Words:
    """The usual video encoder of a container."""
    return {"webm": VP9, "avi": MPEG4}.get(container, H264)


def sound(container: str) -> Words:
    """The usual audio encoder."""
    name = {"webm": "libopus", "avi": "libmp3lame"}.get(container, "aac")
    return ["-c:a", name, "-b:a", "64k"]


def picture(size: str = "96x64", rate: str = "25", seconds: float = 1) -> Words:
    """An input that moves."""
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def tone(hertz: int = 440, seconds: float = 1) -> Words:
    """An input that sounds."""
    return ["-f", "lavfi", "-i", f"sine=f={hertz}:d={seconds}:r=48000"]


def plain(path: Path, container: str, *more: str, size: str = "96x64", rate: str = "25") -> None:
    """Picture and sound, with further words for the output."""
    ffmpeg(*picture(size, rate), *tone(), *codec(container), *sound(container), *more, path)


def silent(path: Path, *words: str, size: str = "96x64") -> None:
    """The picture alone."""
    ffmpeg(*picture(size), *words, path)


# -- time --------------------------------------------------------------------------------------


@has("time", "constant rate, B-frames")
def _constant(path: Path, container: str) -> None:
    plain(path, container)


@has("time", "30000/1001 frames per second")
def _ntsc(path: Path, container: str) -> None:
    plain(path, container, rate="30000/1001")


@has("time", "24000/1001 frames per second")
def _film(path: Path, container: str) -> None:
    plain(path, container, rate="24000/1001")


@has("time", "variable rate with gaps", NOT_AVI)
def _variable(path: Path, container: str) -> None:
    moments = "select='not(between(n,5,9)+eq(n,13))',setpts=PTS+if(gt(N\\,8)\\,0.37/TB\\,0)"
    plain(path, container, "-vf", moments, "-fps_mode", "passthrough", "-enc_time_base", "1/1000")


@has("time", "last frame that stays longer", ("mp4", "mov", "ts"))
def _still(path: Path, container: str) -> None:
    moments = "setpts=PTS+if(eq(N\\,24)\\,0.7/TB\\,0)"
    plain(path, container, "-vf", moments, "-fps_mode", "passthrough", "-enc_time_base", "1/1000")


@has("time", "start offset", NOT_AVI)
def _offset(path: Path, container: str) -> None:
    plain(path, container, "-output_ts_offset", "1.5")


@has("time", "sound that starts later", NOT_AVI)
def _late_sound(path: Path, container: str) -> None:
    ffmpeg(*picture(), "-itsoffset", "0.4", *tone(), *codec(container), *sound(container), path)


@has("time", "picture that starts later", NOT_AVI)
def _late_picture(path: Path, container: str) -> None:
    ffmpeg("-itsoffset", "0.4", *picture(), *tone(), *codec(container), *sound(container), path)


@has("time", "edit list within a group of pictures", ISO)
def _edit_list(path: Path, container: str) -> None:
    whole = path.with_name(f"whole.{container}")
    plain(whole, container)
    ffmpeg("-ss", "0.3", "-i", whole, "-c", "copy", path)


@has("time", "negative composition offsets", ISO)
def _negative_offsets(path: Path, container: str) -> None:
    plain(path, container, "-movflags", "+negative_cts_offsets")


@has("time", "negative decoding times", ("mp4", "mov", "mkv"))
def _negative(path: Path, container: str) -> None:
    plain(path, container, "-avoid_negative_ts", "disabled")


@has("time", "open groups of pictures", ("mp4", "mov", "mkv", "ts"))
def _open(path: Path, container: str) -> None:
    plain(path, container, "-x264-params", "open-gop=1:keyint=10:bframes=3:b-adapt=0:scenecut=0")


@has("time", "fragmented file", ISO)
def _fragmented(path: Path, container: str) -> None:
    plain(path, container, "-movflags", "+frag_keyframe+delay_moov+default_base_moof")


# -- picture -----------------------------------------------------------------------------------


def _fields(path: Path, container: str, order: str) -> None:
    first = str(int(order == "tff"))
    more = (
        ["-x264-params", f"{order}=1"] if container != "avi"
        else ["-top", first]
    )  # fmt: skip
    plain(path, container, "-vf", f"setfield={order}", "-flags", "+ilme+ildct", *more)


INTERLACED = ("mp4", "mov", "mkv", "ts", "avi")


@has("picture", "interlaced, top field first", INTERLACED)
def _top(path: Path, container: str) -> None:
    _fields(path, container, "tff")


@has("picture", "interlaced, bottom field first", INTERLACED)
def _bottom(path: Path, container: str) -> None:
    _fields(path, container, "bff")


@has("picture", "interlaced MPEG-2", ("mp4", "mov", "mkv", "ts", "avi"))
def _mpeg2(path: Path, container: str) -> None:
    words = [
        "-c:v",
        "mpeg2video",
        "-q:v",
        "3",
        "-flags",
        "+ilme+ildct",
        "-top",
        "1",
        "-vf",
        "setfield=tff",
    ]
    ffmpeg(*picture(), *tone(), *words, *sound(container), path)


def _formats() -> None:
    names = {
        "yuv422p": "8 bit 4:2:2", "yuv444p": "8 bit 4:4:4", "yuv420p10le": "10 bit 4:2:0",
        "yuv422p10le": "10 bit 4:2:2", "yuv444p10le": "10 bit 4:4:4", "yuv420p12le": "12 bit 4:2:0",
        "yuv422p12le": "12 bit 4:2:2", "yuv444p12le": "12 bit 4:4:4",
    }  # fmt: skip

    def enter(pix_fmt: str, name: str) -> None:
        deep = pix_fmt.endswith("12le")

        @has("picture", name)
        def recipe(path: Path, container: str) -> None:
            webm = AV1 if pix_fmt == "yuv420p10le" else VP9
            words = {"webm": webm, "avi": FFV1}.get(container, X265 if deep else H264)
            silent(path, *words, "-pix_fmt", pix_fmt)

    for pix_fmt, name in names.items():
        enter(pix_fmt, name)


_formats()


@has("picture", "full range")
def _full(path: Path, container: str) -> None:
    words = {"webm": VP9, "avi": ["-c:v", "mjpeg", "-q:v", "2"]}.get(container, H264)
    pix_fmt = "yuvj420p" if container == "avi" else "yuv420p"
    silent(path, "-vf", "scale=out_range=full", *words, "-color_range", "pc", "-pix_fmt", pix_fmt)


def _colours() -> None:
    tags = {
        "BT.601 (525 lines)": ("smpte170m", "smpte170m", "smpte170m"),
        "BT.601 (625 lines)": ("bt470bg", "bt470bg", "gamma28"),
        "BT.709": ("bt709", "bt709", "bt709"),
        "BT.2020": ("bt2020nc", "bt2020", "bt2020-10"),
    }

    def enter(name: str, matrix: str, primaries: str, transfer: str) -> None:
        @has("picture", f"colour tags {name}")
        def recipe(path: Path, container: str) -> None:
            silent(
                path, *(codec(container) if container != "avi" else H264[:-4]), "-colorspace", matrix,
                "-color_primaries", primaries, "-color_trc", transfer, "-color_range", "tv",
                "-pix_fmt", "yuv420p",
            )  # fmt: skip

    for name, (matrix, primaries, transfer) in tags.items():
        enter(name, matrix, primaries, transfer)


_colours()

WIDE = [
    "-pix_fmt",
    "yuv420p10le",
    "-colorspace",
    "bt2020nc",
    "-color_primaries",
    "bt2020",
    "-color_range",
    "tv",
]


@has("picture", "HDR10 with mastering metadata", ("mp4", "mov", "mkv", "ts"))
def _hdr10(path: Path, _container: str) -> None:
    params = f"log-level=error:hdr10=1:repeat-headers=1:{MASTERING}"
    silent(path, *X265[:-1], params, *WIDE, "-color_trc", "smpte2084")


@has("picture", "HDR10 with mastering metadata, AV1", ("mp4", "mkv", "webm"))
def _hdr10_av1(path: Path, _container: str) -> None:
    told = (
        "mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)WP(0.3127,0.329)L(1000.0,0.0001)"
        ":content-light=1000,400"
    )
    silent(path, *AV1, "-svtav1-params", told, *WIDE, "-color_trc", "smpte2084")


@has("picture", "HLG", NOT_AVI)
def _hlg(path: Path, container: str) -> None:
    silent(path, *(AV1 if container == "webm" else X265), *WIDE, "-color_trc", "arib-std-b67")


@has("picture", "chroma siting of UHD", ("mp4", "mov", "mkv", "ts"))
def _siting(path: Path, _container: str) -> None:
    params = "log-level=error:chromaloc=2"
    silent(path, *X265[:-1], params, *WIDE, "-color_trc", "smpte2084")


@has("picture", "anamorphic pixels")
def _anamorphic(path: Path, container: str) -> None:
    plain(path, container, "-vf", "setsar=64/45")


@has("picture", "anamorphic pixels, AV1", ("mp4", "mkv", "webm"))
def _anamorphic_av1(path: Path, _container: str) -> None:
    silent(path, *AV1, "-vf", "setsar=16/15")


def _turned() -> None:
    def enter(name: str, matrix: tuple[int, ...]) -> None:
        @has("picture", name, ("mp4", "mov", "mkv", "webm"))
        def recipe(path: Path, container: str) -> None:
            plain(path, container)
            crafted.set_matrix(path, matrix)

    for name, matrix in crafted.MATRICES.items():
        enter(name, matrix)


_turned()


ODD = {"mov": "yuv422p10le"}


@has("picture", "odd width and height", ("mp4", "mov", "mkv", "webm", "avi"))
def _odd(path: Path, container: str) -> None:
    words = {"mov": ["-c:v", "prores_ks"], "avi": FFV1}.get(container, VP9)
    silent(
        path,
        "-vf",
        "format=yuv444p,crop=95:63:exact=1",
        *words,
        "-pix_fmt",
        ODD.get(container, "yuv420p"),
    )


@has("picture", "closed captions in the frames", ("mp4", "mov", "mkv", "ts"))
def _captions(path: Path, _container: str) -> None:
    raw, told = path.with_suffix(".264"), path.with_suffix(".cc.264")
    silent(raw, *H264, "-bf", "0", "-x264-params", "aud=1")
    told.write_bytes(crafted.with_captions(raw.read_bytes()))
    ffmpeg("-r", "25", "-i", told, "-c", "copy", path)


@has("picture", "stereoscopic (3D)", ("mkv", "webm"))
def _stereo(path: Path, container: str) -> None:
    plain(path, container, "-metadata:s:v", "stereo_mode=left_right")


@has("picture", "transparency", ("mov", "webm"))
def _transparent(path: Path, container: str) -> None:
    prores = ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"]
    words = [*VP9, "-pix_fmt", "yuva420p"] if container == "webm" else prores
    silent(path, "-vf", "format=yuva444p10le,colorchannelmixer=aa=0.5", *words)


def _codecs() -> None:
    kinds: dict[str, tuple[tuple[str, ...], Words]] = {
        "HEVC": (("mp4", "mov", "mkv", "ts"), X265),
        "AV1": (("mp4", "mkv", "webm"), AV1),
        "VP9": (("mp4", "mkv", "webm"), VP9),
        "VP9, 10 bit": (("mp4", "mkv", "webm"), [*VP9, "-pix_fmt", "yuv420p10le"]),
        "VP8": (("mkv", "webm"), ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]),
        "ProRes 422 HQ": (("mov", "mkv"), ["-c:v", "prores_ks", "-profile:v", "hq"]),
        "ProRes 4444": (
            ("mov", "mkv"),
            ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuv444p10le"],
        ),
        "DNxHR HQ": (("mov",), ["-c:v", "dnxhd", "-profile:v", "dnxhr_hq", "-pix_fmt", "yuv422p"]),
        "FFV1": (("mkv", "avi"), FFV1),
        "MPEG-4": (("mp4", "mov", "mkv", "avi"), MPEG4),
        "Motion JPEG": (("mov", "mkv", "avi"), ["-c:v", "mjpeg", "-q:v", "3"]),
    }

    def enter(name: str, containers: tuple[str, ...], words: Words) -> None:
        @has("video codec", name, containers)
        def recipe(path: Path, _container: str) -> None:
            size = "256x128" if name.startswith("DNx") else "96x64"
            silent(path, *words, size=size)

    for name, (containers, words) in kinds.items():
        enter(name, containers, words)


_codecs()


# -- sound -------------------------------------------------------------------------------------


@has("sound", "three tracks with languages")
def _tracks(path: Path, container: str) -> None:
    ffmpeg(
        *picture(), *tone(300), *tone(500), *tone(700), *codec(container), *sound(container),
        *["-map", "0", "-map", "1", "-map", "2", "-map", "3"], "-metadata:s:a:0", "language=eng",
        "-metadata:s:a:1", "language=deu", "-metadata:s:a:2", "language=fra", path,
    )  # fmt: skip


@has("sound", "titles and dispositions", ("mp4", "mov", "mkv", "webm"))
def _dispositions(path: Path, container: str) -> None:
    ffmpeg(
        *picture(), *tone(300), *tone(500), *tone(700), *codec(container), *sound(container),
        *["-map", "0", "-map", "1", "-map", "2", "-map", "3", "-disposition:a:0", "0", "-disposition:a:1", "default"],
        *["-disposition:a:2", "visual_impaired"], "-metadata:s:a:1", "title=Zweite",
        "-metadata:s:a:2", "title=Described", path,
    )  # fmt: skip


_LOSSLESS = {
    "mp4": "alac ac3", "mov": "pcm_s16le pcm_s24le alac", "mkv": "flac pcm_s16le alac",
    "ts": "ac3 mp2", "avi": "pcm_s16le", "webm": "libopus libvorbis",
}  # fmt: skip


@has("sound", "other codecs")
def _other_sound(path: Path, container: str) -> None:
    names = _LOSSLESS[container].split()
    words = [word for i, name in enumerate(names) for word in ("-map", "1", f"-c:a:{i}", name)]
    ffmpeg(*picture(), *tone(), "-map", "0", *words, *codec(container), path)


@has("sound", "surround", ("mp4", "mov", "mkv", "ts"))
def _surround(path: Path, container: str) -> None:
    name = "ac3" if container == "ts" else "aac"
    layout = "aformat=channel_layouts=5.1"
    ffmpeg(*picture(), *tone(), *codec(container), "-af", layout, "-c:a", name, path)


# -- other streams -----------------------------------------------------------------------------


def text_file(path: Path) -> Path:
    """Two lines of subtitles beside the clip."""
    lines = "1\n00:00:00,100 --> 00:00:00,400\nOne\n\n2\n00:00:00,600 --> 00:00:00,900\nTwo\n"
    file = path.with_suffix(".srt")
    file.write_text(lines)
    return file


@has("subtitles", "text", ("mp4", "mov", "mkv", "webm"))
def _subtitles(path: Path, container: str) -> None:
    name = {"mkv": "subrip", "webm": "webvtt"}.get(container, "mov_text")
    ffmpeg(
        *picture(), *tone(), "-i", text_file(path), "-map", "0", "-map", "1", "-map", "2",
        *codec(container), *sound(container), "-c:s", name, "-metadata:s:s", "language=nld", path,
    )  # fmt: skip


@has("subtitles", "forced, and for the hard of hearing", ("mp4", "mov", "mkv", "webm"))
def _flags(path: Path, container: str) -> None:
    name = {"mkv": "subrip", "webm": "webvtt"}.get(container, "mov_text")
    text = text_file(path)
    ffmpeg(
        *picture(), "-i", text, "-i", text, *["-map", "0", "-map", "1", "-map", "2"], *codec(container),
        *f"-c:s {name} -disposition:s:0 forced -disposition:s:1 hearing_impaired".split(), path,
    )  # fmt: skip


@has("subtitles", "styled (ASS)", ("mkv",))
def _styled(path: Path, container: str) -> None:
    ffmpeg(*picture(), "-i", text_file(path), *codec(container), "-c:s", "ass", path)


def _bitmap(path: Path, container: str, name: str) -> None:
    file = path.with_suffix(".sup")
    file.write_bytes(crafted.subtitle_pictures())
    ffmpeg(
        *picture("256x128"), "-fix_sub_duration", "-i", file, "-map", "0", "-map", "1", *codec(container), "-c:s", name,
        "-metadata:s:s", "language=spa", path,
    )  # fmt: skip


@has("subtitles", "bitmaps of Blu-ray (PGS)", ("mkv", "ts"))
def _pgs(path: Path, container: str) -> None:
    _bitmap(path, container, "copy")


@has("subtitles", "bitmaps of DVD", ("mp4", "mkv"))
def _dvd(path: Path, container: str) -> None:
    film = path.with_name("film.mkv")
    _bitmap(film, container, "dvd_subtitle")
    ffmpeg("-i", film, "-map", "0", "-c", "copy", path)


@has("subtitles", "bitmaps of DVB", ("mkv", "ts"))
def _dvb(path: Path, container: str) -> None:
    _bitmap(path, container, "dvb_subtitle")


@has("other streams", "second video track", ("mp4", "mov", "mkv", "ts"))
def _second(path: Path, container: str) -> None:
    ffmpeg(*picture(), *picture("64x48"), "-map", "0", "-map", "1", *codec(container), path)


@has("other streams", "cover art", ("mp4", "mkv"))
def _cover(path: Path, container: str) -> None:
    cover, film = path.with_name("cover.jpg"), path.with_name(f"film.{container}")
    ffmpeg(*picture(), "-frames:v", "1", cover)
    plain(film, container)
    if container == "mkv":
        ffmpeg("-i", film, "-c", "copy", "-attach", cover, "-metadata:s:t", "mimetype=image/jpeg", path)  # fmt: skip
    else:
        ffmpeg("-i", film, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic", path)  # fmt: skip


@has("other streams", "attachments", ("mkv",))
def _attachments(path: Path, container: str) -> None:
    font = path.with_name("font.ttf")
    font.write_bytes(bytes(range(256)) * 4)
    film = path.with_name("film.mkv")
    plain(film, container)
    ffmpeg("-i", film, "-c", "copy", "-attach", font, "-metadata:s:t", "mimetype=font/ttf", path)


@has("other streams", "telemetry of cameras (gpmd)", ISO)
def _telemetry(path: Path, container: str) -> None:
    ffmpeg(
        *picture(), *tone(), "-i", text_file(path), "-map", "0", "-map", "1", "-map", "2",
        *codec(container), *sound(container), "-c:s", "mov_text", path,
    )  # fmt: skip
    crafted.as_telemetry(path)


@has("other streams", "metadata packets (KLV)", ("ts",))
def _klv(path: Path, container: str) -> None:
    data = path.with_suffix(".klv")
    data.write_bytes(crafted.klv())
    ffmpeg(
        *picture(), *tone(), "-f", "data", "-i", data, "-map", "0", "-map", "1", "-map", "2",
        *codec(container), *sound(container), "-c:d", "klv", path,
    )  # fmt: skip


@has("other streams", "time code", ("mp4", "mov", "mkv"))
def _timecode(path: Path, container: str) -> None:
    plain(path, container, "-timecode", "01:02:03:04")


# -- about the file ----------------------------------------------------------------------------


@has("about the file", "chapters", ("mp4", "mov", "mkv", "webm"))
def _chapters(path: Path, container: str) -> None:
    told = path.with_suffix(".txt")
    parts = [(0, 400, "One"), (400, 1000, "Zwei = 2; #")]
    told.write_text(
        ";FFMETADATA1\n" + "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={a}\nEND={b}\ntitle="
            f"{t.replace('=', chr(92) + '=').replace(';', chr(92) + ';').replace('#', chr(92) + '#')}\n"
            for a, b, t in parts
        )
    )  # fmt: skip
    ffmpeg(
        *picture(), *tone(), "-i", told, "-map", "0", "-map", "1", "-map_metadata", "2",
        *codec(container), *sound(container), path,
    )  # fmt: skip


TAGS = (
    "title=Ein Titel", "artist=Somebody", "comment=With \u00fc and \u732b", "date=2024-05-06",
    "creation_time=2024-05-06T07:08:09.000000Z",
)  # fmt: skip


@has("about the file", "title, author, date", ("mp4", "mov", "mkv", "webm", "avi"))
def _title(path: Path, container: str) -> None:
    plain(path, container, *(word for tag in TAGS for word in ("-metadata", tag)))


@has("about the file", "tags of phones and own tags", ISO)
def _phone(path: Path, container: str) -> None:
    tags = (
        "com.apple.quicktime.make=Maker", "com.apple.quicktime.location.ISO6709=+52.5+013.4+034/",
        "com.example.own=mine",
    )  # fmt: skip
    more = [word for tag in tags for word in ("-metadata", tag)]
    plain(path, container, "-movflags", "+use_metadata_tags", *more)


@has("about the file", "place of recording", ISO)
def _place(path: Path, container: str) -> None:
    plain(path, container, "-metadata", "location=+52.5200+013.4050/")


@has("about the file", "own tags", ("mkv", "webm"))
def _own(path: Path, container: str) -> None:
    plain(path, container, "-metadata", "MY_TAG=mine", "-metadata:s:a:0", "MOOD=calm")


@has("about the file", "names of tracks", ("mp4", "mov", "mkv", "webm"))
def _names(path: Path, container: str) -> None:
    key = "handler_name" if container in ISO else "title"
    plain(
        path, container, "-metadata:s:v", f"{key}=Camera 1", "-metadata:s:v", "language=ita",
        "-metadata:s:a", f"{key}=Microphone",
    )  # fmt: skip


@has("about the file", "names of broadcast services", ("ts",))
def _service(path: Path, container: str) -> None:
    plain(path, container, "-metadata", "service_name=Kanal 5", "-metadata", "service_provider=Us")
