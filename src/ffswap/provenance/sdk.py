"""The C2PA library: loaded when it is needed, never on the network but for a time stamp."""

from __future__ import annotations

from typing import Any

from ..errors import SigningError

__all__ = ["SETTINGS", "WITHOUT", "load_sdk"]

WITHOUT = "--no-credentials writes the output unsigned, for pipelines that sign elsewhere"
"""Hint of every failure to sign."""

SETTINGS: dict[str, Any] = {
    "builder": {
        # A thumbnail is a picture of somebody in a place where nobody looks for one, and takes time.
        "thumbnail": {"enabled": False},
        # The signer answers for these; others would count as hearsay (C2PA 2.1, gathered assertions).
        "created_assertion_labels": ["c2pa.actions", "c2pa.ingredient"],
    },
    # Larger copies go to a temporary file and not into memory, which would grow with the clip.
    "core": {"backing_store_memory_threshold_in_mb": 64},
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}


def load_sdk() -> Any:
    """The module c2pa.

    Raises:
        SigningError: it is not there, or its native library does not load.
    """
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:
        raise SigningError(
            f"content credentials need the package c2pa-python, which does not load ({error})",
            hint=f"install it, or: {WITHOUT}",
        ) from error
    return c2pa
