"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:  # fmt: skip
    """What the user of this machine has installed must not change what the tests see, or be changed."""
    folder = Path(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("FFSWAP_MODELS_DIR", str(folder / "no-models"))
    monkeypatch.setenv("FFSWAP_SIGNER_DIR", str(folder / "signer"))
    for variable in ("FFSWAP_SIGN_CERT", "FFSWAP_SIGN_KEY", "FFSWAP_SIGN_TSA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("FFSWAP_CATALOG", raising=False)
