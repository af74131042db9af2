"""Which swapper is taken when nobody asks for one. A leaf: it loads nothing."""

from __future__ import annotations

__all__ = ["EMBEDDED_SWAPPER", "PREFERRED_SWAPPERS"]

EMBEDDED_SWAPPER = "mesh"
"""The embedded swapper is geometry and relighting, not a net: it is in no catalogue."""

PREFERRED_SWAPPERS = (
    "hyperswap_1a_256", "hyperswap_1c_256", "hyperswap_1b_256", "inswapper_128",
    "inswapper_128_fp16", "ghost_2_256", "ghost_3_256", "ghost_1_256", "simswap_unofficial_512",
    "simswap_256", "hififace_unofficial_256", "uniface_256", "blendswap_256",
)  # fmt: skip
"""From the best: likeness first, then sharpness, as their makers and users report; not measured here."""
