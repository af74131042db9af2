"""Recipes for engines of replicas, written beside their ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ffswap.models.onnx_files import save_onnx
from tools.replicas import make

# What a recipe has to say about files that do not say it themselves.
SHAPES = {"retinaface_10g": "input = [3, 64, 64]"}
# In the range of pictures the points of this one are as good as ties, and FP16 turns them over.
RANGES = {"2dfan4": "input = [-1.0, 1.0]"}
UNBATCHED = {"codeformer": ["weight"]}


def write_recipe(
    folder: Path,
    family: str,
    *,
    batches: Sequence[int] = (1, 4),
    profiles: str = "range",
    tactics: Sequence[str] = (),
    more: str = "",
) -> Path:
    """Write the ONNX file of a small replica and a recipe for it.

    Args:
        folder: for both.
        family: of the replica.
        batches: of the engine.
        profiles: of the engine.
        tactics: sources of tactics; none: TensorRT's own choice.
        more: further lines for the model.
    """
    path = folder / f"{family}.onnx"
    if not path.exists():
        save_onnx(make(family), path)
    lines = [
        "[gate]",
        # Replicas have random weights: what real nets decide clearly, rounding decides in them.
        "relative_l2 = 0.05",
        "psnr_db = 30",
        f'[models."{family}"]',
        f'file = "{family}.onnx"',
        f"batches = {list(batches)}",
        f'profiles = "{profiles}"',
        "opt_level = 0",  # how fast they run is not the question
        f"tactics = {list(tactics)}",
        f"unbatched = {UNBATCHED.get(family, [])}",
        more,
    ]
    if family in SHAPES:
        lines += [f'[models."{family}".shapes]', SHAPES[family]]
    if family in RANGES:
        lines += [f'[models."{family}".ranges]', RANGES[family]]
    recipe = folder / f"{family}.toml"
    recipe.write_text("\n".join(lines) + "\n")
    return recipe
