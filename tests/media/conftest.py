"""Fixtures of the media tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from media_clips import Clip


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Make a clip in the test's own folder: ``clip("name.mp4", frames=10)``."""

    def make(name: str, **recipe: Any) -> Path:
        path: Path = Clip(tmp_path / name, **recipe).make()
        return path

    return make
