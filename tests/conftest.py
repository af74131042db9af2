"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_models_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:  # fmt: skip
    """What the user of this machine has installed must not change what the tests see."""
    nowhere = Path(tmp_path_factory.getbasetemp()) / "no-models"
    monkeypatch.setenv("FFSWAP_MODELS_DIR", str(nowhere))
    monkeypatch.delenv("FFSWAP_CATALOG", raising=False)
