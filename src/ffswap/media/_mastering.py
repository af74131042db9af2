"""Static HDR metadata for encoders: each has words of its own for it."""

from __future__ import annotations

from .probe import Mastering

__all__ = ["add_mastering"]


def add_mastering(name: str, told: dict[str, str], data: Mastering) -> tuple[str, ...]:
    """Give HDR metadata to the encoders that write it; others lose it, with a warning."""
    colours = data.primaries
    display = ""
    if colours is not None and data.luminance is not None:
        red, green, blue, white = (colours[i : i + 2] for i in range(0, 8, 2))
        named = (("G", green), ("B", blue), ("R", red), ("WP", white))
        low, high = data.luminance
        if name == "libsvtav1":
            display = "".join(f"{k}({float(x):.4f},{float(y):.4f})" for k, (x, y) in named)
            display += f"L({float(high):.4f},{float(low):.4f})"
        else:  # units of 0.00002 and of 0.0001 cd/m2, as in SMPTE ST 2086
            display = "".join(f"{k}({round(x * 50000)},{round(y * 50000)})" for k, (x, y) in named)
            display += f"L({round(high * 10000)},{round(low * 10000)})"
    keys = {
        "libx264": ("x264-params", "mastering-display", "cll", ""),
        "libx265": ("x265-params", "master-display", "max-cll", "hdr10=1:repeat-headers=1"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light", ""),
    }.get(name)
    if keys is None:
        return (f"{name} cannot store the HDR metadata of the input",)
    option, display_key, light_key, always = keys
    parts = [told[option]] if option in told else []
    parts += [always] if always else []
    parts += [f"{display_key}={display}"] if display else []
    if data.content_light is not None:
        parts.append(f"{light_key}={data.content_light[0]},{data.content_light[1]}")
    told[option] = ":".join(parts)
    return ()
