"""Replicas of published nets: seeded random weights in graphs of the same shape.

They stand in for files that may not be shipped: same tensor names, types and operators, so whatever
reads, rewrites, builds and times those files can be tested and measured without them. What they
compute means nothing, but it neither vanishes nor saturates, so rounding shows.
"""

from .families import FAMILIES, Family, Size, make

__all__ = ["FAMILIES", "Family", "Size", "make"]
