"""Detectors and landmarkers whose pictures, nets and decoding stay on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32, I64, FrameBatch
from ...geometry.boxes import Detections
from ...models import ModelSpec
from ...ops.contrast import DARK, lift_dark
from ...ops.cuda import CropReader, DeviceFrames, NetForm
from ...ops.cuda.detect import HeadDecoder
from ...ops.cuda.landmarks import Darkness, HeatmapPeaks
from ...options import DetectOptions
from ..feed import MAX_BATCH
from ..landmark import CropLandmarker
from ..net_detect import Shot, TurningDetector
from .lane import DeviceNet, Lane
