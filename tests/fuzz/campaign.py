"""Runs cases in worker processes, judges what became of them, and adds up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ffswap.cli.errors import ExitCode
from tests.fuzz.cases import Case

__all__ = ["Campaign", "Finding", "Tally"]

ROOT = Path(__file__).resolve().parents[2]

_DOCUMENTED = {int(code) for code in ExitCode} - {ExitCode.INTERNAL, ExitCode.INTERRUPTED}
_LINE = re.compile(r"ffswap: (error|hint|warning|licence|progress): ")
_LARGEST_OUTPUT = 64 << 20  # bytes: of inputs of 50 KB
_LARGEST_PEAK_MB = 4096
_GRACE_S = 30  # after which a worker that should have ended itself is killed


@dataclass(frozen=True)
class Finding:
    """A case that did not end as it may.

    Attributes:
        case: its name.
        what: in a few words, the same for the same fault.
        more: what the program printed.
    """

    case: str
    what: str
    more: str = ""


@dataclass
class Tally:
    """What a campaign came to.

    Attributes:
        inputs: that were tried.
        ends: how many ended with which exit code.
        messages: how often each was printed, numbers and names left out.
        findings: all that must not be.
        slowest: seconds, and the case.
        peak_mb: the largest memory of a worker.
    """

    inputs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak_mb: int = 0


class _Worker:
    """A process with a folder of its own; started when it is needed, and again when it has died."""

    def __init__(self, folder: Path, limit_s: float) -> None:
        self.folder, self._limit_s = folder, limit_s
        self._process: subprocess.Popen[str] | None = None
        (folder / "signer").mkdir(parents=True)
        (folder / "logs").mkdir()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate(timeout=_GRACE_S)

    def _start(self) -> subprocess.Popen[str]:
        folder = self.folder
        names = {
            "HOME": "home", "TMPDIR": "tmp", "FFSWAP_MODELS_DIR": "store", "FFSWAP_SIGNER_DIR": "signer",
            "XDG_CACHE_HOME": "home", "XDG_DATA_HOME": "home", "FFSWAP_ENGINE_DIR": "engines",
        }  # fmt: skip
        environment = {**os.environ, **{key: str(folder / name) for key, name in names.items()}}
        environment |= {
            "FFSWAP_OFFLINE": "1", "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
            "SVT_LOG": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        with (folder / "worker.err").open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker"], cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def run(self, case: Case) -> dict[str, Any]:
        """What the worker says of a case; of a worker that died: how."""
        folder = self.folder
        for name in ("in", "out", "tmp", "cwd", "home", "store", "engines"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir()
        for name, data in case.files.items():
            (folder / "in" / name).write_bytes(data)
        places = {"{in}": str(folder / "in"), "{out}": str(folder / "out")}
        commands = [[_filled(word, places) for word in command] for command in case.commands]
        job = {
            "folder": str(folder), "commands": commands, "output": case.output,
            "input": case.input, "limit_s": self._limit_s,
        }  # fmt: skip
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self._limit_s + _GRACE_S, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        return {
            "died": process.returncode,
            "trace": (folder / "worker.err").read_text(errors="replace"),
        }


def _filled(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(name, path)
    return word


class Campaign:
    """Tries cases and judges them.

    Args:
        limit_s: for one case, seconds.
        workers: processes at a time.
        keep: folder that the files of bad cases are put into, or None.
    """

    def __init__(
        self, *, limit_s: float = 30.0, workers: int = 1, keep: Path | None = None
    ) -> None:
        self._limit_s, self._count, self._keep = limit_s, workers, keep
        self._lock = threading.Lock()
        self.tally = Tally()

    def run(
        self, cases: Iterable[Callable[[], Case]], told: Callable[[Tally], None] | None = None
    ) -> Tally:
        """Try all of them."""
        todo = iter(cases)
        with tempfile.TemporaryDirectory(prefix="ffswap-fuzz-") as folder, ThreadPoolExecutor(self._count) as pool:  # fmt: skip
            lanes = [
                pool.submit(self._lane, todo, Path(folder) / str(n), told)
                for n in range(self._count)
            ]
            for lane in lanes:
                lane.result()
        return self.tally

    def _lane(self, todo: Any, folder: Path, told: Callable[[Tally], None] | None) -> None:
        folder.mkdir()
        worker = _Worker(folder, self._limit_s)
        try:
            while True:
                with self._lock:
                    make = next(todo, None)
                    if make is None:
                        return
                    case = make()
                self._judge(case, worker.run(case), folder)
                if told is not None:
                    told(self.tally)
        finally:
            worker.close()

    def _judge(self, case: Case, answer: dict[str, Any], folder: Path) -> None:
        whats = list(faults(case, answer))
        with self._lock:
            tally = self.tally
            tally.inputs += 1
            if "died" in answer:
                tally.ends["died"] += 1
            else:
                last = answer["ended"][-1]
                tally.ends[f"{case.commands[0][0]} {last['code']}"] += 1
                for line in last["err"].splitlines():
                    if line.startswith("ffswap: error"):
                        tally.messages[f"{last['code']} {_shape(line)}"] += 1
                tally.slowest = max(tally.slowest, (answer["seconds"], case.name))
                tally.peak_mb = max(tally.peak_mb, answer["peak_mb"])
            more = answer.get("trace") or json.dumps(answer.get("ended"))
            tally.findings += [Finding(case.name, what, more) for what in whats]
            if whats and self._keep is not None:
                place = self._keep / re.sub(r"[^\w.+-]+", "_", case.name)
                shutil.copytree(folder / "in", place, dirs_exist_ok=True)
                (place / "case.json").write_text(
                    json.dumps(
                        {"commands": case.commands, "faults": whats, "answer": answer}, indent=1
                    )
                )


def faults(case: Case, answer: dict[str, Any]) -> Iterable[str]:
    """All that is wrong with how a case ended."""
    if "died" in answer:
        hung = "Timeout (" in answer["trace"]
        yield "hangs" if hung else f"the process died with {answer['died']}"
        return
    for one in answer["ended"]:
        # libtiff, inside of Pillow, warns on stderr by itself; nothing in Python can keep it from that
        yield from _bad_end(one, strays=".tiff" in case.name)
    last = answer["ended"][-1]
    if case.commands[-1][0] not in ("models", "engines", "build-engine") and answer["outside"]:
        yield f"touches {answer['outside'][0].split(' ')[0]} outside"
    for name in ("changed", "left", "threads"):
        if answer[name]:
            yield f"{name}: {', '.join(map(str, answer[name]))[:80]}"
    if answer["peak_mb"] > _LARGEST_PEAK_MB:
        yield f"takes more than {_LARGEST_PEAK_MB} MB"
    if case.output is not None:
        yield from _bad_output(case, last, answer)


def _bad_end(one: dict[str, Any], *, strays: bool) -> Iterable[str]:
    code, err = one["code"], one["err"]
    if code not in _DOCUMENTED:
        yield f"ends with {str(code)[:100]}: {_shape(err.partition(chr(10))[0])}"
        return
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("ffswap: error: ")]
    if code in (ExitCode.OK, ExitCode.CUT_SHORT, ExitCode.SYNTHETIC, ExitCode.INVALID):
        if errors:
            yield "an error is printed and the exit code is none"
    elif len(errors) != 1:
        yield f"{len(errors)} error lines"
    if "Traceback" in err or "Traceback" in one["out"]:
        yield "a trace is printed"
    stray = [line for line in lines if not _LINE.match(line)]
    if stray and not strays:
        yield f"a stray line: {_shape(stray[0])[:100]}"


def _bad_output(case: Case, last: dict[str, Any], answer: dict[str, Any]) -> Iterable[str]:
    done = last["code"] in (ExitCode.OK, ExitCode.CUT_SHORT) and case.commands[-1][0] == "swap"
    wanted = {case.output, f"{case.output}.c2pa"}
    extra = set(answer["outputs"]) - (wanted if done else set())
    if extra:
        yield f"left in the folder of outputs: {', '.join(sorted(extra))[:80]}"
    if not done or len(answer["ended"]) < len(case.commands):
        return
    if "frames" not in answer:
        yield "success without an output"
        return
    report = json.loads(last["out"])
    if answer["bytes"] > _LARGEST_OUTPUT:
        yield "a huge output"
    if answer["broken"]:
        yield f"the output cannot be decoded: {_shape(answer['broken'])}"
    if answer["frames"] != report["frames"]:
        yield "another number of frames in the output than in the report"
    silent = last["code"] == ExitCode.OK and not report["corrupt_frames"] and not _told(report)
    if silent and case.whole and answer["there"] > report["frames"]:
        yield "frames are lost and nobody says so"
    if silent and case.whole and case.cut and report["frames"] < case.frames:
        yield "a file that was cut short is taken for whole"


def _told(report: dict[str, Any]) -> bool:
    """Whether the report says that frames are missing."""
    words = ("dropped", "cut short", "damaged", "stopped before", "first frame is used", "animated")
    return any(word in warning for warning in report["warnings"] for word in words)


def _shape(line: str) -> str:
    """A message without what differs from case to case."""
    line = re.sub(r"(/[\w.+-]+)+", "PATH", line)
    return re.sub(r"-?\d[\d.]*", "N", line)[:300]
