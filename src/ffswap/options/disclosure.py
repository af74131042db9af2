"""How an output says what it is: a label that is seen, and credentials that are signed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import OptionError
from .checks import require
from .position import Position

__all__ = ["CredentialOptions", "LabelOptions", "LabelPosition"]

LabelPosition = Literal[
    "top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right",
]  # fmt: skip

# Characters of a label: at the smallest size twice as many would fill the width of a 16:9 frame.
LONGEST_LABEL = 120
# Height of the letters, percent of the height of the frame: below 1 nobody reads them in 1080p.
SMALLEST_LABEL, LARGEST_LABEL = 1.0, 25.0


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Text that is drawn into the frames.

    Attributes:
        text: one line.
        position: where in the frame, as it is shown.
        size: height of the letters, percent of the height of the frame as it is shown.
        start: first moment of the target at which it is seen; None: the beginning.
        end: first moment at which it is no longer seen; None: the end.
        font: file of a TrueType or OpenType font; None: the one that comes along, which has the
            characters of English.
    """

    text: str
    position: LabelPosition = "bottom-right"
    size: float = 4.0
    start: Position | None = None
    end: Position | None = None
    font: str | None = None

    def __post_init__(self) -> None:
        text = self.text
        drawn = all(unicodedata.category(one)[0] != "C" for one in text)
        require(
            bool(text.strip()) and drawn and len(text) <= LONGEST_LABEL,
            "label", text, f"one line of 1 to {LONGEST_LABEL} characters",
        )  # fmt: skip
        words = get_args(LabelPosition)
        require(self.position in words, "label_position", self.position, ", ".join(words))
        require(
            SMALLEST_LABEL <= self.size <= LARGEST_LABEL,
            "label_size", self.size, f"{SMALLEST_LABEL:g} to {LARGEST_LABEL:g} (percent)",
        )  # fmt: skip
        if self.font is not None:
            require(bool(self.font.strip()), "label_font", self.font, "the file of a font")


@dataclass(frozen=True, kw_only=True)
class CredentialOptions:
    """Content credentials (C2PA): a signed record of what was done, in the output or beside it.

    Attributes:
        enabled: write them.
        certificate: PEM file with the certificate of the signer, followed by those that vouch for it;
            None: a signer that ffswap makes for itself, which proves nothing about who it is.
        key: PEM file with the private key of `certificate`.
        timestamp_url: of a time-stamp authority (RFC 3161), or None. Nothing else uses the network.
        folder: where the signer that ffswap makes for itself is kept, so that all outputs have the same;
            None: a fresh one for each run, which is not kept.
    """

    enabled: bool = True
    certificate: str | None = None
    key: str | None = None
    timestamp_url: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "folder"):
            value = getattr(self, name)
            require(value is None or bool(value.strip()), name, value, "the name of a file")
        if (self.certificate is None) != (self.key is None):
            given, other = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise OptionError(
                f"the {given} of a signer was given without its {other}",
                hint="give both, or neither: then ffswap signs with a signer of its own",
            )
        url = self.timestamp_url
        require(
            url is None or url.startswith(("http://", "https://")),
            "timestamp_url", url, "an address that begins with http:// or https://",
        )  # fmt: skip
