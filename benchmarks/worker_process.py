"""The parent's half of a measurement: a child process that is asked for times."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["WorkerError", "WorkerProcess"]

ROOT = Path(__file__).resolve().parents[1]
END_S = 30  # a child that has not ended by then is stopped
LAST_LINES = 3  # of what a failed child said


class WorkerError(RuntimeError):
    """A child ended before it answered."""


class WorkerProcess:
    """A child that speaks the protocol of `benchmarks.worker`.

    Args:
        command: starts it, in the repository's root.

    Raises:
        WorkerError: it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # A file, not a pipe: a child that says much must not wait for us to read it.
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                text=True, encoding="utf-8", cwd=ROOT,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise WorkerError(f"cannot be started: {error}") from error

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerError: it ended instead; with the last lines that it said.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        line = self._child.stdout.readline()
        if not line:
            raise self._failure()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self) -> WorkerError:
        code = self._child.wait(END_S)
        self._log.seek(0)
        said = [line.strip() for line in self._log if line.strip()][-LAST_LINES:]
        return WorkerError(f"ended with exit code {code}: {' | '.join(said) or 'said nothing'}")

    def close(self) -> None:
        """End it; closing twice is allowed."""
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # it ended with a request unread
                continue
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
