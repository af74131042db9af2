"""`ffswap swap`: put the face of a photo into a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from ..errors import OptionError
from ..options import (
    LimitOptions,
    MaskKind,
    MeshSwapOptions,
    ModelOptions,
    Person,
    Position,
    SwapOptions,
    Unfinished,
)
from .bars import MODES
from .disclosure import (
    Credentials,
    LabelFont,
    LabelPlace,
    LabelSize,
    LabelText,
    LabelTime,
    SignCertificate,
    SignKey,
    SignTimestamp,
    credential_options,
    label_options,
)
from .encoding import Bitrate, Encoder, Format, PixFmt, Preset, Quality, encode_options
from .errors import STOPPED_HINT, ExitCode
from .folders import (
    EngineDir,
    ModelsDir,
    completes_hints,
    engine_folder,
    kernel_folder,
    models_folder,
    own_catalogue,
)
from .limits import MaxHours, MaxMegapixels
from .messages import Told, note, printable, result, result_json
from .progress import Display, make_display
from .signals import StopSignals
from .streams import STREAM, Streams, open_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pipeline.report import SwapReport

__all__ = ["SwapCommand", "command"]


class SwapCommand(TyperCommand):
    """`ffswap swap`, whose first file and not its last is the one that may be left out."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002  the base class gives it
        """What is shown after the name of the command."""
        return ["[OPTIONS]", "[SOURCE]", "TARGET", "OUTPUT"]


_FACES = ("largest", "all", "left-right:")
_MASKS = get_args(MaskKind)
_PRECISIONS = ("fp16", "fp32")
_DEVICES = ("auto", "cpu", "cuda")
_POSITION_HELP = "a time as 12.5, 1:02.5 or 00:01:02.5, or a frame as 250f"


def _words(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in allowed if word.startswith(incomplete)]

    return complete


def _value(name: str, metavar: str, text: str, words: tuple[str, ...] = ()) -> Any:
    """An option whose value the library checks, so that what is allowed stands in one place."""
    complete = _words(words) if words else None
    return typer.Option(name, metavar=metavar, help=text, autocompletion=complete)


_Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="photo of the face to put in, or a folder of photos of that face",
    ),
]
_Target = Annotated[Path, typer.Argument(metavar="TARGET", help="video (or picture) to change")]
_Output = Annotated[
    Path | None,
    typer.Argument(
        metavar="OUTPUT", help="file to write", show_default=False,
    ),
]  # fmt: skip
_Faces = Annotated[
    str, _value("--faces", "largest|all|left-right:N,…", "which faces to replace", _FACES)
]
_Reference = Annotated[
    str | None, _value("--reference", "PHOTO", "replace this person only; needs a recogniser")
]
_Distance = Annotated[
    float, _value("--reference-distance", "0..1", "below it two faces are one person")
]
_Map = Annotated[
    list[str] | None,
    _value("--map", "SOURCE=REFERENCE", "this face goes on that person; may be repeated"),
]
_Model = Annotated[str, _value("--model", "NAME|FILE", "swapper; see ffswap models list")]
_Detector = Annotated[str, _value("--detector", "NAME|FILE", "what finds faces")]
_Angles = Annotated[
    str, _value("--detector-angles", "DEGREES,…", "search turned pictures too: 0, 90, 180, 270")
]
_Landmarker = Annotated[str, _value("--landmarker", "NAME|FILE|none", "what finds their points")]
_Mask = Annotated[
    str, _value("--mask", "KIND,…", f"what limits the painted region: {', '.join(_MASKS)}", _MASKS)
]
_Restore = Annotated[str | None, _value("--restore", "NAME|FILE", "work over each swapped face")]
_Boost = Annotated[
    int | None, _value("--pixel-boost", "PX", "side of the square that a face is swapped at")
]
_Blend = Annotated[float, _value("--blend", "0..1", "how much of --restore is taken")]
_Start = Annotated[
    str | None, _value("--start", "POSITION", f"first moment kept: {_POSITION_HELP}")
]
_End = Annotated[
    str | None, _value("--end", "POSITION", "first moment no longer kept, written likewise")
]
_KeepOccluders = Annotated[
    bool,
    typer.Option(
        "--keep-occluders/--no-keep-occluders",
        help="leave hands, glasses and the like in front of the face as they are",
    ),
]
_Device = Annotated[str, _value("--device", "auto|cpu|cuda|cuda:N", "what computes", _DEVICES)]
_Precision = Annotated[
    str | None, _value("--precision", "fp16|fp32", "of the engines on a GPU", _PRECISIONS)
]
_Threads = Annotated[
    int | None,
    _value(
        "--threads", "N", "1 to 256, for decoder, painters and encoder each; left out: one per core"
    ),
]
_Segment = Annotated[
    float,
    _value(
        "--segment",
        "SECONDS",
        "a long clip is done in pieces of this length; 0: at once, without --resume",
    ),
]
_Resume = Annotated[
    bool,
    typer.Option("--resume", help="go on where an interrupted run of the same command stopped"),
]
_Discard = Annotated[
    bool, typer.Option("--discard", help="throw away what an interrupted run has left")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", "-y", help="replace OUTPUT if it exists")]
_Progress = Annotated[
    str, _value("--progress", "|".join(MODES), "how progress is shown on stderr", MODES)
]
_Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON object")]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print nothing but errors (and what --json prints)")
]


@completes_hints
def command(
    source: _Source,
    target: _Target,
    output: _Output = None,
    faces: _Faces = "largest",
    reference: _Reference = None,
    reference_distance: _Distance = 0.3,
    map_: _Map = None,
    model: _Model = "auto",
    detector: _Detector = "auto",
    detector_angles: _Angles = "0",
    landmarker: _Landmarker = "auto",
    mask: _Mask = "box",
    restore: _Restore = None,
    pixel_boost: _Boost = None,
    blend: _Blend = 0.8,
    models_dir: ModelsDir = None,
    start: _Start = None,
    end: _End = None,
    encoder: Encoder = None,
    quality: Quality = None,
    bitrate: Bitrate = None,
    preset: Preset = None,
    pix_fmt: PixFmt = None,
    format_: Format = None,
    keep_occluders: _KeepOccluders = True,
    label: LabelText = None,
    label_position: LabelPlace = "bottom-right",
    label_size: LabelSize = 4.0,
    label_time: LabelTime = None,
    label_font: LabelFont = None,
    credentials: Credentials = True,
    sign_cert: SignCertificate = None,
    sign_key: SignKey = None,
    sign_tsa: SignTimestamp = None,
    max_megapixels: MaxMegapixels = 100.0,
    max_hours: MaxHours = 24.0,
    device: _Device = "auto",
    precision: _Precision = None,
    engine_dir: EngineDir = None,
    threads: _Threads = None,
    segment: _Segment = 10.0,
    resume: _Resume = False,
    discard: _Discard = False,
    overwrite: _Overwrite = False,
    progress: _Progress = "auto",
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Put the face of the photo SOURCE into the video TARGET and write OUTPUT.

    With --map, SOURCE may be left out: `ffswap swap --map anna.jpg=guest.jpg TARGET OUTPUT`.
    """
    people = tuple(Person.parse(text) for text in map_ or ())
    photo, target, output = _files(source, target, output, mapped=bool(people), as_json=as_json)
    nets = (model, detector, detector_angles, landmarker)
    options = SwapOptions(
        faces=faces,
        people=people,
        reference=_given("--reference", reference),
        reference_distance=reference_distance,
        start=_position("--start", start),
        end=_position("--end", end),
        device=device,
        precision=_precision(precision),
        threads=threads,
        segment_s=segment,
        unfinished=_unfinished(resume=resume, discard=discard),
        overwrite=overwrite,
        models=_models(*nets, restore, mask, pixel_boost, blend),
        mesh=MeshSwapOptions(keep_occluders=keep_occluders),
        encode=encode_options(encoder, quality, bitrate, preset, pix_fmt),
        label=label_options(label, label_position, label_size, label_time, label_font),
        credentials=credential_options(credentials, sign_cert, sign_key, sign_tsa),
        limits=LimitOptions(megapixels=max_megapixels, hours=max_hours),
    )
    told = Told(quiet=quiet)
    with open_streams(target, output, _given("--format", format_)) as files:
        report = _work(photo, files, options, (models_dir, engine_dir), progress, told, quiet=quiet)
    return _tell(report, told, as_json=as_json, quiet=quiet or files.to_stdout)


def _work(
    photo: Path | None, files: Streams, options: SwapOptions, folders: tuple[Path | None, Path | None],
    progress: str, told: Told, *, quiet: bool,
) -> SwapReport:  # fmt: skip
    display = make_display(progress, quiet=quiet)
    _tell_unsigned(files, options, told)
    with StopSignals(quiet=quiet) as signals:
        report = _run(
            photo, files.target, files.output, options, models_folder(folders[0]),
            engine_folder(folders[1]), display, signals, told,
        )  # fmt: skip
        files.send()
    return report


def _unfinished(*, resume: bool, discard: bool) -> Unfinished:
    if resume and discard:
        raise OptionError("--resume and --discard were given; allowed: one of them")
    return "resume" if resume else "discard" if discard else "refuse"


def _models(
    swapper: str,
    detector: str,
    angles: str,
    landmarker: str,
    restorer: str | None,
    masks: str,
    boost: int | None,
    blend: float,
) -> ModelOptions:
    kinds: Any = tuple(masks.split(","))  # checked by the class
    return ModelOptions(
        swapper=swapper,
        detector=detector,
        detector_angles=_numbers("--detector-angles", angles),
        landmarker=landmarker,
        restorer=_given("--restore", restorer),
        masks=kinds,
        pixel_boost=boost,
        restore_blend=blend,
    )


def _files(
    source: Path, target: Path, output: Path | None, *, mapped: bool, as_json: bool
) -> tuple[Path | None, Path, Path]:
    """Source, target and output; of two files with --map the first is the target."""
    photo: Path | None = source
    if output is None:
        if not mapped:
            raise OptionError(
                "two files were given; allowed: SOURCE TARGET OUTPUT",
                hint="name the file to write; only with --map is SOURCE left out",
            )
        photo, target, output = None, source, target
    if str(photo) == STREAM:
        raise OptionError(
            "SOURCE is '-'; allowed: a photo or a folder, only TARGET and OUTPUT may be streams",
            hint="a file that is really named - is given with its full path",
        )
    if as_json and str(output) == STREAM:
        raise OptionError("OUTPUT is '-' and --json prints there too; allowed: one of them")
    return photo, target, output


def _tell_unsigned(files: Streams, options: SwapOptions, told: Told) -> None:
    """A stream has no file beside it, where some formats have their credentials."""
    from ..provenance.formats import embeds

    if files.to_stdout and options.credentials.enabled and not embeds(files.output):
        told(
            f"the output has no content credentials: a stream of {files.output.suffix[1:]} has no "
            "place for them; where it is published it may have to be marked in a machine-readable way"
        )


def _given(option: str, text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise OptionError(f"{option} is empty; allowed: a name, or leave the option out")
    return text


def _precision(text: str | None) -> Any:
    """As given; the class checks it."""
    return _given("--precision", text)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option} is {text!r}; allowed: whole numbers with commas between"
        ) from None


def _position(option: str, text: str | None) -> Position | None:
    if text is None:
        return None
    try:
        return Position.parse(text)
    except OptionError as error:
        raise OptionError(f"{option}: {error.message}", hint=error.hint) from error


def _run(
    source: Path | None,
    target: Path,
    output: Path,
    options: SwapOptions,
    models: Path,
    engines: Path,
    display: Display,
    signals: StopSignals,
    told: Told,
) -> SwapReport:
    with signals.told(f"nothing was written to {output}", hint=STOPPED_HINT):
        # Imported when it is run: the pipeline loads FFmpeg and the nets, and --help needs neither.
        # The name is looked up in its package at each call, so that a test can put its own there.
        from .. import pipeline

        swap = pipeline.swap
        pipeline.tune_process()
        with display:
            report: SwapReport = swap(
                source, target, output, options=options, models=models, catalog=own_catalogue(models),
                engines=engines, kernels=kernel_folder(), progress=display, cancel=signals.cancel,
                notify=told,
            )  # fmt: skip
    return report


def _tell(report: SwapReport, told: Told, *, as_json: bool, quiet: bool) -> ExitCode:
    for warning in report.warnings:
        told(warning)
    if not quiet:
        _warn(report)
    if as_json:
        result_json(report.as_dict())
    elif not quiet:
        result(*_summary(report))
    return ExitCode.OK if report.complete else ExitCode.CUT_SHORT


def _warn(report: SwapReport) -> None:
    if not report.complete:  # by how many frames is among the warnings of the report
        note("warning", f"{report.output} ends early, as the target does")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _summary(report: SwapReport) -> list[str]:
    skipped = sum(report.faces_skipped.values())
    lines = [
        f"{printable(report.output)}: {_count(report.frames, 'frame')} in {report.seconds:.1f} s"
        f" ({report.fps:.1f} frames/s)",
        f"faces: {report.faces} swapped on {_count(report.tracks, 'track')}, "
        f"{_count(report.frames_without_face, 'frame')} without a face"
        + (f", {_count(skipped, 'face')} left as they are" if skipped else ""),
        f"model {report.model} ({report.model_reason}), device {report.device}, "
        f"encoder {report.encoder} ({report.pixel_format})",
    ]
    if report.credentials is not None:
        beside = f", in {report.credentials.file}" if report.credentials.place == "sidecar" else ""
        lines.append(f"credentials: signed by {printable(report.credentials.who + beside)}")
    if report.segments > 1:
        earlier = f", {_count(report.resumed_frames, 'frame')} by an earlier run"
        lines.append(
            f"{report.segments} segments{earlier * (report.resumed_frames > 0)}; "
            f"{report.temporary_bytes / 1e6:.1f} MB beside the output, removed"
        )
    if report.corrupt_frames:
        lines.append(f"{_count(report.corrupt_frames, 'damaged frame')} in the target")
    if report.stage_fps:
        rates = ", ".join(f"{stage} {rate:.0f}" for stage, rate in report.stage_fps.items())
        lines.append(f"each stage alone, frames/s: {rates}")
    return lines
