"""How a run says what it made: the label in the frames, and the credentials of the file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import OutputExistsError
from ..files import PendingFile
from ..media import Lettering
from ..models import load_catalog
from ..options import CredentialOptions, LabelOptions
from ..provenance.formats import embeds, sidecar_of
from ..provenance.record import Claim, Signature
from ..stages.face_swap import FaceSwap
from ..stages.label import Label
from .chain import Chain
from .preferences import EMBEDDED_SWAPPER

__all__ = ["Sealer", "check_sidecar", "claim_of", "open_label", "open_sealer"]

_UNSIGNED = (
    "the output has no content credentials, as --no-credentials asks; where it is published it may have "
    "to be marked in a machine-readable way"
)
_UNLISTED = "a model of the user's"


def open_label(options: LabelOptions | None) -> Label | None:
    """The label that was asked for, or None.

    Raises:
        InputMissingError: there is no font of that name.
        OptionError: the font cannot be read, or lacks a character.
    """
    return None if options is None else Label(Lettering(options.text, options.font), options)


def claim_of(chain: Chain, swap: FaceSwap, *, labelled: bool) -> Claim:
    """What a run that has painted all frames did, in words that name nobody.

    Models that only the user has are not named: what one calls files at home is nobody's business.
    """
    listed = {*load_catalog(None).models, EMBEDDED_SWAPPER}
    names = {name if name in listed else _UNLISTED for name in chain.models.values()}
    return Claim(
        swapped=swap.counts.faces > sum(swap.skipped.values()),
        generated=chain.model != EMBEDDED_SWAPPER or "restorer" in chain.models,
        models=tuple(sorted(names)),
        labelled=labelled,
    )


def check_sidecar(output: Path, options: CredentialOptions, *, overwrite: bool) -> None:
    """Say before any work that the file beside the output is there already.

    Raises:
        OutputExistsError: it is, and must not be replaced.
    """
    beside = sidecar_of(output)
    if options.enabled and not embeds(output) and not overwrite and beside.exists():
        raise OutputExistsError(
            f"holds credentials already, and those of {output.name} belong there", file=beside,
            hint="use --overwrite to replace it, or write .mp4, which holds its credentials itself",
        )  # fmt: skip


class Sealer:
    """Signs the output of one run, or leaves it as it is.

    Args:
        sign: signs a file, or None.
    """

    def __init__(self, sign: Callable[[PendingFile, Claim], Signature] | None) -> None:
        self._sign = sign
        self.signature: Signature | None = None

    def __call__(self, file: PendingFile, claim: Claim) -> None:
        """Do it; see `provenance.signing.CredentialSigner.sign` for what can go wrong."""
        if self._sign is None:
            file.replaces(sidecar_of(file.path))
        else:
            self.signature = self._sign(file, claim)


def open_sealer(
    options: CredentialOptions, target: Path, cancel: threading.Event | None
) -> tuple[Sealer, tuple[str, ...]]:
    """What seals the output of a run, and what the user should know about it.

    Args:
        options: of the credentials.
        target: what the output is made from.
        cancel: ends signing when it is set.

    Raises:
        InputMissingError: a file of the user's certificate is not there.
        SigningError: the certificate or its key cannot be used.
    """
    if not options.enabled:
        return Sealer(None), (_UNSIGNED,)
    # Loaded when it is needed: who signs elsewhere need not have it.
    from ..provenance.signing import open_signer

    signer, notes = open_signer(options, cancel)
    return Sealer(lambda file, claim: signer.sign(file, claim, target)), notes
