"""What is done to pixels between the nets, on a GPU: frames in its memory, and our kernels on them.

Nothing here allocates or waits: callers bring arrays and a stream. `ops.cpu` and `ops.paste` are the
references, value by value.
"""

from .crop import CropReader, NetForm
from .frames import DeviceFrames, PlaneLayout, RegionDownload, layout_of, region_bytes
from .painting import MOST_MARKS, Painting
from .paste import Paster
from .sound import Soundness

__all__ = [
    "MOST_MARKS",
    "CropReader",
    "DeviceFrames",
    "NetForm",
    "Painting",
    "Paster",
    "PlaneLayout",
    "RegionDownload",
    "Soundness",
    "layout_of",
    "region_bytes",
]
