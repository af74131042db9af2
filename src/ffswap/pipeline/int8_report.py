"""The report of an INT8 engine: one HTML file that needs nothing else, with what was measured and pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.gate import Arrays, Group
from ..engines.int8_figures import Int8Figures
from ..engines.manifest import GateFigures, GateLimits
from ..engines.similarity import is_image, psnr, ssim
from ..media import encode_png

__all__ = ["Int8Report", "PictureRow", "pick_rows", "render"]

# Of the difference in its picture: at 30 dB a value is off by 3 % of the range, which is then seen.
_MAGNIFIED = 8
_MOST_ROWS = 8  # of pictures: the worst of each group

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .2rem .8rem .2rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
img { width: 12rem; image-rendering: auto; display: block; }
.good { color: #060; } .bad { color: #a00; }
"""


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One held row in all precisions.

    Attributes:
        groups: that it belongs to, in words.
        fp32: outputs, a row of 1.
        fp16: the same.
        int8: the same.
    """

    groups: tuple[str, ...]
    fp32: Arrays
    fp16: Arrays
    int8: Arrays


@dataclass(frozen=True, kw_only=True)
class Int8Report:
    """Everything that the report shows.

    Attributes:
        model: name of the net.
        runtime: what built the engine, or was to.
        fault: why no engine was installed; None: one was.
        limits: of the gate.
        gate: what was measured of the engine; None: none was good enough to be measured to the end.
        int8: how the net was made; None: it was not.
        notes: what the user should know.
        rows: held rows to show.
    """

    model: str
    runtime: str
    fault: str | None
    limits: GateLimits
    gate: GateFigures | None
    int8: Int8Figures | None
    notes: tuple[str, ...]
    rows: tuple[PictureRow, ...]


def pick_rows(wanted: Arrays, seen: dict[int, Arrays], groups: Sequence[Group]) -> list[int]:
    """The held rows to show: the worst of each group, worst first.

    Args:
        wanted: FP32 outputs of all held rows.
        seen: INT8 outputs, by row.
        groups: of the rows.
    """
    errors = {
        row: max(_relative(outputs[name], wanted[name][row]) for name in wanted)
        for row, outputs in seen.items()
    }
    worst = [
        max((row for row in group.rows if row in errors), key=lambda row: errors[row], default=None)
        for group in groups
    ]
    found = dict.fromkeys(row for row in worst if row is not None)
    return sorted(found, key=lambda row: -errors[row])[:_MOST_ROWS]


def _relative(got: NDArray[Any], want: NDArray[Any]) -> float:
    size = float(np.linalg.norm(want.astype(np.float64))) or 1.0
    return (
        float(np.linalg.norm(got.astype(np.float64).ravel() - want.astype(np.float64).ravel()))
        / size
    )


def render(report: Int8Report) -> str:
    """The whole file."""
    title = f"INT8 of {report.model}"
    parts = [f"<h1>{_text(title)}</h1>", _verdict(report), *map(_note, report.notes)]
    if report.gate is not None:
        parts += [_outputs(report.gate, report.limits), _groups(report.gate)]
    if report.int8 is not None:
        parts += [_making(report.int8), _sweep(report.int8), _left(report.int8)]
    if report.rows:
        parts.append(_pictures(report.rows))
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _note(text: str) -> str:
    return f"<p>{_text(text)}</p>"


def _verdict(report: Int8Report) -> str:
    if report.fault is None:
        where = "" if report.gate is None else f", measured on the {report.gate.where}"
        return f'<p class="good">Good enough, and installed ({_text(report.runtime)}{_text(where)}).</p>'
    return f'<p class="bad">Not installed: {_text(report.fault)}</p>'


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right."""

    def cell(value: object) -> str:
        kind = ' class="n"' if isinstance(value, float | int) else ""
        shown = (
            f"{value:.3g}" if isinstance(value, float) else _text("" if value is None else value)
        )
        return f"<td{kind}>{shown}</td>"

    lines = ["<tr>" + "".join(f"<th>{_text(one)}</th>" for one in head) + "</tr>"]
    lines += ["<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _outputs(gate: GateFigures, limits: GateLimits) -> str:
    rows: list[Sequence[object]] = [
        ["limit", limits.relative_l2, limits.psnr_db, limits.ssim, limits.row, limits.identity]
    ]
    rows += [
        [one.output, one.relative_l2, one.psnr_db, one.ssim, one.row_error, gate.identity]
        for one in gate.outputs
    ]
    head = ("output", "difference", "PSNR dB", "SSIM", "row in a batch", "identity")
    return f"<h2>The worst of {gate.samples} held rows against FP32</h2>" + _table(head, rows)


def _groups(gate: GateFigures) -> str:
    head = ("group", "name", "output", "rows", "mean dB", "worst dB", "below the mean, dB")
    rows = [
        (one.kind, one.name, one.output, one.rows, one.mean_db, one.worst_db, one.below_db)
        for one in gate.groups
    ]
    return "<h2>By group</h2>" + _table(head, rows)


def _making(int8: Int8Figures) -> str:
    lines = (
        ("rows for ranges", int8.calibrated),
        ("rows held out", int8.held),
        ("ranges", int8.method),
        ("scales of kernels", f"one for each {int8.weights}"),
        ("layers in INT8", len(int8.layers)),
        ("of the multiplications", f"{int8.share:.0%}"),
        ("returned to FP16", ", ".join(int8.returned) or "none"),
    )
    methods = _table(
        ("ranges", "error with all layers in INT8"), ((m.method, m.error) for m in int8.methods)
    )
    return "<h2>How it was made</h2>" + _table(("what", "value"), lines) + methods


def _sweep(int8: Int8Figures) -> str:
    rows = (
        (", ".join(one.layers), one.error, f"{one.share:.1%}",
         "FP16" if set(one.layers) & set(int8.returned) else "INT8")
        for one in int8.sweep
    )  # fmt: skip
    head = ("layers", "error alone", "of the multiplications", "precision")
    return "<h2>What each layer costs</h2>" + _table(head, rows)


def _left(int8: Int8Figures) -> str:
    rows = ((one.node, one.reason) for one in int8.left)
    return "<h2>Convolutions that INT8 does not suit</h2>" + _table(("layer", "reason"), rows)


def _pictures(rows: Sequence[PictureRow]) -> str:
    lines = []
    for row in rows:
        for name, want in row.fp32.items():
            if not is_image(want.shape):
                continue
            fp32, fp16, int8 = (
                _hwc(one[name][0].astype(np.float64)) for one in (row.fp32, row.fp16, row.int8)
            )
            low, span = float(fp32.min()), float(np.ptp(fp32)) or 1.0
            shown = [_img((one - low) / span) for one in (fp32, fp16, int8)]
            shown.append(_img(np.abs(int8 - fp32) / span * _MAGNIFIED))
            likeness = ssim(int8, fp32)
            note = f"{', '.join(row.groups)}: {psnr(int8, fp32):.1f} dB"
            note += "" if likeness is None else f", SSIM {likeness:.3f}"
            lines.append("<tr>" + "".join(f"<td>{one}</td>" for one in shown) + "</tr>")
            lines.append(f'<tr><td colspan="4">{_text(note)}</td></tr>')
    if not lines:
        return ""
    head = "".join(
        f"<th>{one}</th>" for one in ("FP32", "FP16", "INT8", f"difference, {_MAGNIFIED} times")
    )
    return (
        "<h2>The worst row of each group</h2>\n<p>Channels are shown in the net's own order, each "
        "picture in the range of FP32.</p>\n<table>\n"
        f"<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"
    )


def _hwc(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.moveaxis(picture, 0, 2) if picture.shape[0] == 3 else picture


def _img(picture: NDArray[np.float64]) -> str:
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    data = base64.b64encode(encode_png(np.ascontiguousarray(pixels))).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'
