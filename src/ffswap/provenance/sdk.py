"""The C2PA library: loaded when it is needed, never on the network but for a time stamp."""

from __future__ import annotations

from typing import Any

from ..errors import SigningError

__all__ = ["SETTINGS", "WITHOUT", "load_sdk"]

WITHOUT = "--no-credentials writes the output unsigned, for pipelines that sign elsewhere"
"""Hint of every failure to sign."""

SETTINGS: dict[str, Any] = {
    # A thumbnail is a picture of somebody in a place where nobody looks for one, and takes time.
    "builder": {"thumbnail": {"enabled": False}},
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
