"""What the tests verify of each model of the catalogue, read from the tests themselves.

A test says it with a marker, ``@pytest.mark.conformance(check)``: `check` is a key of `CHECKS`, and
the models are those that its parameter ``name`` goes through. Where it has none, ``models=`` names
them. They are collected, not run, in a process of their own: ``python -m tools.conformance FILE...``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from ffswap.models import names

__all__ = ["CHECKS", "Collector", "collect", "main", "verified"]

ROOT = Path(__file__).resolve().parents[1]
MARKER = "conformance"
PARAMETER = "name"

CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "interface": "names, types and shapes of inputs and outputs: of the file where it comes with "
        "ffswap, else of a replica of the published graph (smaller, random weights)",
        "names": "the same where the file calls its inputs and outputs otherwise",
        "scale": "what black and white become on the way in, against numbers of the published procedure",
        "source": "what is done to the portrait's embedding, against the published procedure",
        "faces": "boxes and points to 1/1000 of a pixel, from tensors that an encoder of the tests made "
        "of known faces",
        "points": "points and scores of known tables and heat maps, back through the crop to 1/100 of a "
        "pixel",
        "embedding": "what goes in and out, by a net whose answer is a known function of the crop or "
        "of the embedding",
        "identity": "a swap by a net that changes nothing: the clip comes back within one code value, "
        "bit-identical outside the mask",
        "mask": "masks of known parts of a picture, by a net that tells them by their colours",
        "blend": "the blend, by a net that makes the crop brighter",
        "portraits": "faces and points found in two portraits, against marks set by eye",
        "batch": "rows of a batch equal the same rows one by one",
        "original": "the outputs equal those of the original file in its own runtime",
    }
)
"""What a test can verify, and how, in words; the order is that of the columns' keys in the docs."""


class Collector:
    """A plugin of pytest that reads the markers of what is collected.

    Attributes:
        found: checks by name of the model.
    """

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Read all of them."""
        for item in items:
            for marker in item.iter_markers(MARKER):
                self._read(item, marker)

    def _read(self, item: pytest.Item, marker: pytest.Mark) -> None:
        call = getattr(item, "callspec", None)
        models = marker.kwargs.get("models")
        if models is None:
            models = () if call is None else (call.params.get(PARAMETER),)
        (check,) = marker.args
        if check not in CHECKS or not models or not set(models) <= set(names()):
            raise pytest.UsageError(
                f"{item.nodeid}: conformance({check!r}) of the models {models}; allowed: one of "
                f"{', '.join(CHECKS)}, of names of the catalogue"
            )
        for model in models:
            self.found.setdefault(model, set()).add(check)


def collect(files: Sequence[str]) -> dict[str, list[str]]:
    """The checks of each model, in the order of `CHECKS`, from these files, in this process.

    Raises:
        RuntimeError: a file cannot be collected; what is wrong was printed.
    """
    collector = Collector()
    # Without the options of the project: they would start workers, which have plugins of their own.
    arguments = ["--collect-only", "--quiet", "--quiet", "--override-ini=addopts=", *files]
    code = pytest.main(arguments, plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"pytest cannot collect {', '.join(files)}: exit code {int(code)}")
    return {
        model: [check for check in CHECKS if check in checks]
        for model, checks in sorted(collector.found.items())
    }


def verified() -> dict[str, list[str]]:
    """The checks of each model, from all tests that have the marker.

    Raises:
        RuntimeError: they cannot be collected; the message has what was printed.
    """
    files = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if f"@pytest.mark.{MARKER}(" in file.read_text(encoding="utf-8")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tools.conformance", *files],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the tests cannot be collected: {done.stdout}{done.stderr}")
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the checks of each model as one line of JSON, after what pytest prints.

    Args:
        arguments: files of tests; None: those of the process.

    Returns:
        0.
    """
    print("\n" + json.dumps(collect(sys.argv[1:] if arguments is None else arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
