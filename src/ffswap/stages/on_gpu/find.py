"""Detectors and landmarkers whose pictures, nets and decoding stay on the device."""

from __future__ import annotations

