"""Text as coverage of pixels, in a font that comes along or one of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..carriers import F32
from ..errors import InputError, OptionError
from ..files import check_input

__all__ = ["Lettering"]

# Width of the outline by the height of the letters, and its least, pixels: enough to set white letters
# off from a white ground at every size that is allowed.
_OUTLINE, _LEAST_OUTLINE_PX = 0.11, 1
# Size of the font at which the height of its letters is measured.
_MEASURED_PX = 200
# A character that no font has: what is drawn in its place is drawn for all others that are missing.
_MISSING = "\U0010fffe"


class Lettering:
    """One line of text.

    Args:
        text: to draw.
        font: file of a TrueType or OpenType font; None: the one that comes with Pillow (Aileron, with
            the characters of ASCII).

    Raises:
        InputMissingError: there is no such file.
        OptionError: the file is no font, or the font lacks a character of the text or draws nothing.
    """

    def __init__(self, text: str, font: str | None = None) -> None:
        self._text, self._font = text, font
        letters = self._sized(_MEASURED_PX)
        _, top, _, bottom = letters.getbbox("H")
        self._scale = _MEASURED_PX / (bottom - top) if bottom > top else 1.0
        if letters.getmask(text).getbbox() is None:
            raise OptionError.of("label", f"label is {text!r}, of which nothing is to be seen")
        empty = bytes(letters.getmask(_MISSING))
        lacking = [
            one for one in text if not one.isspace() and bytes(letters.getmask(one)) == empty
        ]
        if lacking:
            which = "the font that comes with ffswap" if font is None else Path(font).name
            raise OptionError.of(
                "label",
                f"label has characters that {which} lacks: {' '.join(dict.fromkeys(lacking))}",
                hint="name a font that has them: --label-font FILE.ttf",
            )

    def _sized(self, size: float) -> ImageFont.FreeTypeFont:
        try:
            if self._font is not None:
                path = check_input(self._font, "a TrueType or OpenType font", InputError)
                return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
            found = ImageFont.load_default(size)
        except OSError as error:
            if isinstance(error, InputError):
                raise
            raise OptionError.of(
                "label_font", f"label_font is {self._font!r}, which is no font that can be read"
            ) from error
        assert isinstance(found, ImageFont.FreeTypeFont)
        return found

    def draw(self, height_px: float, stretch: float = 1.0) -> tuple[F32, F32]:
        """The text at a size.

        Args:
            height_px: of a capital letter, pixels, more than 0.
            stretch: its width by what it is with square pixels.

        Returns:
            Two (h, w) float32 arrays, 0 to 1: how much of each pixel is covered by letters and outline
            together, and by letters.
        """
        letters = self._sized(max(1.0, height_px * self._scale))
        outline = max(_LEAST_OUTLINE_PX, round(height_px * _OUTLINE))
        left, top, right, bottom = letters.getbbox(self._text, stroke_width=outline)
        size = (max(1, int(right - left)), max(1, int(bottom - top)))
        layers = []
        for width in (outline, 0):
            layer = Image.new("L", size)
            ImageDraw.Draw(layer).text(
                (-left, -top), self._text, font=letters, fill=255, stroke_width=width
            )
            if stretch != 1.0:
                wide = (max(1, round(size[0] * stretch)), size[1])
                layer = layer.resize(wide, Image.Resampling.BOX)
            layers.append(np.asarray(layer, np.float32) / np.float32(255))
        cover, fill = layers
        rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
        inked = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cover[inked], np.minimum(fill, cover)[inked]
