"""The set of noise that measures INT8 where there are no faces."""

from __future__ import annotations

import numpy as np

from ffswap.engines.calibration import read_set
from ffswap.models.onnx_files import fingerprint, save_onnx
from tests.engines.fitted_net import fitted_net
from tools.random_set import main


def test_every_input_gets_rows_of_its_kind(tmp_path, capsys):
    save_onnx(fitted_net(batch="N"), tmp_path / "fitted.onnx")
    assert main([str(tmp_path / "set"), str(tmp_path / "fitted.onnx"), "--rows", "34"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "set")
    rows = read_set(tmp_path / "set", "fitted")
    assert rows.onnx_sha256 == fingerprint(fitted_net(batch="N"))
    target, source = rows.inputs["target"], rows.inputs["source"]
    assert target.shape == (34, 3, 24, 24)
    assert (target >= 0).all()
    assert (target <= 1).all()
    # Smooth: neighbours differ by less than pixels far apart.
    assert (
        np.abs(np.diff(target, axis=3)).mean()
        < 0.5 * np.abs(target[..., 12:] - target[..., :12]).mean()
    )
    np.testing.assert_allclose(np.linalg.norm(source, axis=1), 1, rtol=1e-6)
