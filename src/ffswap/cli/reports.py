"""What is printed of a swap that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ExitCode
from .messages import Told, note, printable, result, result_json

if TYPE_CHECKING:
    from ..pipeline.report import SwapReport

__all__ = ["count", "tell_report"]


def tell_report(report: SwapReport, told: Told, *, as_json: bool, quiet: bool) -> ExitCode:
    """Print a report, and what it warns of.

    Args:
        report: of the file.
        told: has printed warnings, and prints the others.
        as_json: print it as one object.
        quiet: print nothing else.
    """
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


def count(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _summary(report: SwapReport) -> list[str]:
    skipped = sum(report.faces_skipped.values())
    lines = [
        f"{printable(report.output)}: {count(report.frames, 'frame')} in {report.seconds:.1f} s"
        f" ({report.fps:.1f} frames/s)",
        f"faces: {report.faces} swapped on {count(report.tracks, 'track')}, "
        f"{count(report.frames_without_face, 'frame')} without a face"
        + (f", {count(skipped, 'face')} left as they are" if skipped else ""),
        f"model {report.model} ({report.model_reason}), device {report.device}, "
        f"encoder {report.encoder} ({report.pixel_format})",
    ]
    if report.credentials is not None:
        beside = f", in {report.credentials.file}" if report.credentials.place == "sidecar" else ""
        lines.append(f"credentials: signed by {printable(report.credentials.who + beside)}")
    if report.segments > 1:
        earlier = f", {count(report.resumed_frames, 'frame')} by an earlier run"
        lines.append(
            f"{report.segments} segments{earlier * (report.resumed_frames > 0)}; "
            f"{report.temporary_bytes / 1e6:.1f} MB beside the output, removed"
        )
    if report.corrupt_frames:
        lines.append(f"{count(report.corrupt_frames, 'damaged frame')} in the target")
    if report.stage_fps:
        rates = ", ".join(f"{stage} {rate:.0f}" for stage, rate in report.stage_fps.items())
        lines.append(f"each stage alone, frames/s: {rates}")
    return lines
