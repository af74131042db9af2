"""Finds the interpreter of a Python version and prints its path: ``python tools/pythons.py 3.12``.

A command named ``python3.12`` proves nothing: version managers put stand-ins on the PATH that only
work when they are told which version is meant. So every candidate is run and asked. Standard
library only, because this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["find_python", "main"]

QUESTION = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
TIMEOUT_S = 60


def _output(command: list[str], **variables: str) -> str | None:
    """Standard output of a command with some environment variables set, or None if it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
            env={**os.environ, **variables},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _answers(version: str) -> Iterator[str | None]:
    """What each candidate says about itself, likeliest first."""
    yield _output([sys.executable, "-c", QUESTION])
    yield _output([f"python{version}", "-c", QUESTION])
    yield _output([f"python{version}", "-c", QUESTION], PYENV_VERSION=version)
    yield _output(["py", f"-{version}", "-c", QUESTION])
    if found := _output(["uv", "python", "find", "--no-project", version]):
        yield _output([found, "-c", QUESTION])


def find_python(version: str) -> str | None:
    """Path of an interpreter that says it is ``version`` (``"3.12"``), or None."""
    for answer in _answers(version):
        if answer and answer.partition(" ")[0] == version:
            return answer.partition(" ")[2]
    return None


def main() -> int:
    """Print the path, or say on stderr what was tried and return 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("version", help="such as 3.12")
    version: str = parser.parse_args().version
    path = find_python(version)
    if path is None:
        tried = f"python{version} (alone and with PYENV_VERSION={version}), py -{version}, uv"
        print(f"no Python {version} found; tried {tried}; install one", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
