"""Telling what a file is: made by a camera or by a machine, as far as it says so itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import FfswapError, MediaError
from ..files import PathLike, check_input
from ..media import probe
from ..options import LimitOptions
from ..provenance.reading import Credentials, read_credentials
from .marks import MarkFound, find_mark

__all__ = ["Inspection", "Verdict", "inspect"]

Verdict = Literal["nothing", "credentials", "synthetic", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file says about itself.

    Attributes:
        file: that was read.
        verdict: ``invalid``: there are credentials, and they do not hold; ``synthetic``: they hold and
            say that a machine made something in it, or the mark in its pixels says so;
            ``credentials``: they hold and say nothing of the kind; ``nothing``: it says nothing, which
            does not make it an original.
        credentials: as found, or None.
        mark: what the mark in the pixels says, or None where it was not looked for.
    """

    file: str
    verdict: Verdict
    credentials: Credentials | None
    mark: MarkFound | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        found = None if self.credentials is None else self.credentials.as_dict()
        return {
            "file": self.file,
            "verdict": self.verdict,
            "credentials": found,
            "mark": None if self.mark is None else asdict(self.mark),
        }


def inspect(
    path: PathLike,
    *,
    trust: PathLike | None = None,
    pixels: bool = True,
    limits: LimitOptions | None = None,
) -> Inspection:
    """Read the content credentials of a video or a picture, in it or beside it, and look for the mark.

    Nothing is fetched from the network.

    Args:
        path: of the file.
        trust: PEM file with certificates of authorities whose signers the caller trusts, or None.
        pixels: whether to look for the mark in them, which decodes the file until the mark is plain.
        limits: what it is refused for being too large to decode; None: the usual ones.

    Returns:
        What was found.

    Raises:
        InputMissingError: a file is not there, or is a folder.
        MediaError: neither video nor picture.
        SigningError: the C2PA library does not load, or `trust` holds no certificates.
    """
    file = check_input(path, "a video or a picture", MediaError)
    found = read_credentials(file, None if trust is None else Path(trust))
    if found is None:
        _check_media(file, limits)
    mark = _find_mark(file, found, limits) if pixels else None
    return Inspection(file=str(file), verdict=_verdict(found, mark), credentials=found, mark=mark)


def _check_media(file: Path, limits: LimitOptions | None) -> None:
    """Refuse what is no media; a file that was tampered with need not be any more.

    Raises:
        MediaError: it is none.
    """
    try:
        probe(file, limits)
    except FfswapError as error:
        raise MediaError(
            "holds no content credentials, and is no video or picture that can be read", file=file,
            hint=error.message if error.hint is None else f"{error.message} ({error.hint})",
        ) from error  # fmt: skip


def _find_mark(
    file: Path, found: Credentials | None, limits: LimitOptions | None
) -> MarkFound | None:
    """The mark; None where credentials are all that can be read of the file, as after tampering."""
    try:
        return find_mark(file, limits=limits)
    except MediaError:
        if found is None:
            raise
        return None


def _verdict(found: Credentials | None, mark: MarkFound | None) -> Verdict:
    if found is not None and found.state == "invalid":
        return "invalid"
    if (found is not None and found.synthetic) or (mark is not None and mark.verdict == "marked"):
        return "synthetic"
    return "nothing" if found is None else "credentials"
