"""The options of a swap by which its output says what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..errors import OptionError
from ..options import CredentialOptions, LabelOptions, LabelPosition, Position

__all__ = [
    "CERTIFICATE_VARIABLE",
    "KEY_VARIABLE",
    "SIGNER_DIR_VARIABLE",
    "TIMESTAMP_VARIABLE",
    "Credentials",
    "LabelFont",
    "LabelPlace",
    "LabelSize",
    "LabelText",
    "LabelTime",
    "SignCertificate",
    "SignKey",
    "SignTimestamp",
    "credential_options",
    "label_options",
]

CERTIFICATE_VARIABLE = "FFSWAP_SIGN_CERT"
KEY_VARIABLE = "FFSWAP_SIGN_KEY"
TIMESTAMP_VARIABLE = "FFSWAP_SIGN_TSA"
SIGNER_DIR_VARIABLE = "FFSWAP_SIGNER_DIR"

_PLACES = get_args(LabelPosition)


def _complete(incomplete: str) -> list[str]:
    return [one for one in _PLACES if one.startswith(incomplete)]


LabelText = Annotated[
    str | None,
    typer.Option("--label", metavar="TEXT", help="draw this text into the picture, to be seen"),
]
LabelPlace = Annotated[
    str,
    typer.Option(
        "--label-position", metavar="PLACE", help=", ".join(_PLACES), autocompletion=_complete
    ),
]
LabelSize = Annotated[
    float,
    typer.Option("--label-size", metavar="PERCENT", help="of the frame's height, for its letters"),
]
LabelTime = Annotated[
    str | None,
    typer.Option(
        "--label-time",
        metavar="START-END",
        help="when it is seen in OUTPUT, such as 0-5, 1:02- or -250f; left out: always",
    ),
]
LabelFont = Annotated[
    str | None,
    typer.Option(
        "--label-font", metavar="FILE", help="TrueType or OpenType font; left out: one for English"
    ),
]
Credentials = Annotated[
    bool,
    typer.Option(
        "--credentials/--no-credentials",
        help="sign a record of what was done (C2PA) into OUTPUT, or beside it",
    ),
]
SignCertificate = Annotated[
    str | None,
    typer.Option(
        "--sign-cert",
        metavar="FILE.pem",
        help=f"your certificate and its chain; left out: {CERTIFICATE_VARIABLE}, or a local signer",
    ),
]
SignKey = Annotated[
    str | None,
    typer.Option(
        "--sign-key", metavar="FILE.pem", help=f"its private key; left out: {KEY_VARIABLE}"
    ),
]
SignTimestamp = Annotated[
    str | None,
    typer.Option(
        "--sign-tsa",
        metavar="URL",
        help=f"time-stamp server, asked over the network; left out: {TIMESTAMP_VARIABLE}, or none",
    ),
]


def label_options(
    text: str | None, position: str, size: float, time: str | None, font: str | None
) -> LabelOptions | None:
    """The label that was asked for.

    Raises:
        OptionError: a value is not allowed, or there is no text that it could be about.
    """
    default = LabelOptions(text="-")
    if text is None:
        if (position, size, time, font) != (default.position, default.size, None, None):
            raise OptionError(
                "the label has a position, size, time or font and no text",
                hint="add --label TEXT, or leave the others out",
            )
        return None
    start, end = _span(time)
    place: Any = position  # checked by the class
    return LabelOptions(text=text, position=place, size=size, start=start, end=end, font=font)


def _span(text: str | None) -> tuple[Position | None, Position | None]:
    if text is None:
        return None, None
    parts = text.split("-")
    if len(parts) != 2 or not any(part.strip() for part in parts):
        raise OptionError(
            f"--label-time is {text!r}; allowed: START-END, START- or -END",
            hint="write 0:05-0:10 for five seconds, or 0f-250f for the first 250 frames",
        )
    start, end = (Position.parse(part) if part.strip() else None for part in parts)
    return start, end


def credential_options(
    enabled: bool, certificate: str | None, key: str | None, timestamp_url: str | None
) -> CredentialOptions:
    """Who signs: as given, or else of the environment.

    What is given goes before all of the environment: a certificate of the one does not go with a
    key of the other.

    Raises:
        OptionError: a certificate without a key, or the other way round.
    """
    if certificate is None and key is None:
        certificate, key = _variable(CERTIFICATE_VARIABLE), _variable(KEY_VARIABLE)
    if not enabled:
        return CredentialOptions(enabled=False)
    return CredentialOptions(
        certificate=certificate,
        key=key,
        timestamp_url=timestamp_url or _variable(TIMESTAMP_VARIABLE),
        folder=str(_signer_folder()),
    )


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _signer_folder() -> Path:
    """Where the local signer is kept: of the environment, else with the user's data."""
    if variable := _variable(SIGNER_DIR_VARIABLE):
        return Path(variable)
    import platformdirs

    return platformdirs.user_data_path("ffswap", appauthor=False) / "signer"
