"""Fixtures of the tests that swap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ffswap.cli.main import app
from tests.pipeline.face_clips import FaceClip, astronaut, background, hopper

LOSSLESS = {"preset": "ultrafast", "qp": "0"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Material that no test changes: portraits, and clips that are made when asked for."""
    folder = tmp_path_factory.mktemp("faces")
    Image.fromarray(hopper().rgb).save(folder / "hopper.jpg", quality=95)
    Image.fromarray(astronaut().rgb).save(folder / "astronaut.png")
    Image.fromarray(background(300, 200)).save(folder / "noface.jpg")
    return folder


@pytest.fixture(scope="session")
def portrait(folder: Path) -> Path:
    return folder / "hopper.jpg"


@pytest.fixture(scope="session")
def clips(folder: Path) -> Callable[..., FaceClip]:
    """A clip with a face: ``clips("name.mkv", rotation=90)``, made once; lossless by default."""
    made: dict[str, FaceClip] = {}

    def clip(name: str, **recipe: Any) -> FaceClip:
        if name not in made:
            recipe.setdefault("encoder", "ffv1" if name.endswith(".mkv") else "libx264")
            recipe.setdefault("options", {} if recipe["encoder"] == "ffv1" else LOSSLESS)
            made[name] = FaceClip(folder / name, **recipe)
            made[name].make()
        return made[name]

    return clip


@dataclass(frozen=True)
class Ended:
    """What a run of the program leaves behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the program in this process: ``cli("swap", source, target, output, "--quiet")``."""

    def run(*args: object) -> Ended:
        with pytest.raises(SystemExit) as ended:
            app([str(arg) for arg in args], prog_name="ffswap")
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(int(str(ended.value.code)), out, err)

    return run
