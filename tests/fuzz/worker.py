"""A process that gives many inputs, one after another, to the program and says what became of each.

It reads one JSON object a line from standard input, a `tests.fuzz.cases.Case` written into a folder, and
answers each with one. The program runs in this process, its output goes to files, memory and the size of
files are limited, and a run that takes too long ends the process with the traces of all its threads.
"""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from ffswap.cli.main import main as program

__all__ = ["main"]

_MEMORY = 6 << 30  # bytes of data of this process: more is what a limit should have prevented
_LARGEST_FILE = 256 << 20  # bytes: the inputs are of some 50 KB
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1),
    "os.symlink": (1,), "os.chmod": (0,), "os.truncate": (0,), "shutil.copyfile": (1,),
}  # fmt: skip
_FORBIDDEN = {"socket.connect", "pickle.find_class", "os.system", "subprocess.Popen", "os.exec"}


class _Watch:
    """Takes down what the run does outside of its folders; set up once, since it cannot be removed."""

    def __init__(self) -> None:
        self.on, self.root, self.found = False, "", list[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _FORBIDDEN:
            self.found.append(f"{event} {str(args)[:200]}")
        elif event == "open":
            if isinstance(args[2], int) and args[2] & _WRITES:
                self._path(event, args[0])
        elif event in _CHANGES:
            for position in _CHANGES[event]:
                self._path(event, args[position])

    def _path(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(self.root) and name != os.devnull:
            self.found.append(f"{event} {name}")


def _tree(folder: Path) -> dict[str, str]:
    """What lies in a folder, by path: digests of files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def count_frames(path: Path) -> int:
    """Frames that come out of a file, by FFmpeg alone; -1: it cannot be opened."""
    count = 0
    try:
        with av.open(str(path)) as source:
            stream = source.streams.best("video") or source.streams.video[0]
            for packet in source.demux(stream):
                try:
                    count += len(packet.decode())
                except av.FFmpegError:
                    continue
    except (av.FFmpegError, IndexError, ValueError):
        return count or -1
    return count


def _whole(path: Path) -> tuple[int, str]:
    """Frames of an output, and what is wrong with it."""
    count = 0
    try:
        with av.open(str(path)) as source:
            for packet in source.demux(source.streams.best("video") or source.streams.video[0]):
                count += len(packet.decode())
    except (av.FFmpegError, ValueError) as error:
        return count, f"{type(error).__name__}: {error}"
    return count, ""


def _redirect(path: Path, number: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, number)
    os.close(file)


def _run(commands: Sequence[Sequence[str]], logs: Path) -> list[dict[str, Any]]:
    """Every command in its turn, until one fails."""
    ended = []
    for number, arguments in enumerate(commands):
        out, err = logs / f"{number}.out", logs / f"{number}.err"
        _redirect(out, 1)
        _redirect(err, 2)
        code: Any = "returned"
        try:
            sys.argv = ["ffswap", *arguments]
            program()
        except SystemExit as end:
            code = end.code
        except BaseException as error:  # noqa: BLE001  whatever comes out of the program is a finding
            code = f"{type(error).__name__}: {error}"
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        ended.append(
            {
                "code": code, "out": out.read_text(errors="replace"),
                "err": err.read_text(errors="replace"),
            }
        )  # fmt: skip
        if code != 0:
            break
    return ended


def _answer(case: dict[str, Any], watch: _Watch) -> dict[str, Any]:
    folder = Path(case["folder"])
    catalogue = folder / "in" / "catalog.toml"
    os.environ.pop("FFSWAP_CATALOG", None)
    if catalogue.exists():
        os.environ["FFSWAP_CATALOG"] = str(catalogue)
    os.chdir(folder / "cwd")
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    before = _tree(folder / "in")
    watch.root, watch.found = str(folder), []
    watch.on = True
    begun, spent = time.perf_counter(), time.process_time()
    faulthandler.dump_traceback_later(case["limit_s"], exit=True, file=_Watchdog.file)
    ended = _run(case["commands"], logs)
    watch.on = False
    answer: dict[str, Any] = {
        "ended": ended,
        "seconds": time.perf_counter() - begun,
        "cpu_s": time.process_time() - spent,
        "changed": sorted(dict(set(before.items()) ^ set(_tree(folder / "in").items()))),
        "outside": list(watch.found),
        "left": [*_tree(folder / "tmp"), *_tree(folder / "cwd")],
        "outputs": sorted(path.name for path in (folder / "out").iterdir()),
        "threads": [t.name for t in threading.enumerate() if t is not threading.main_thread()],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    output = None if case["output"] is None else folder / "out" / case["output"]
    if output is not None and output.exists():
        answer["bytes"] = output.stat().st_size
        answer["frames"], answer["broken"] = _whole(output)
        answer["there"] = count_frames(folder / "in" / case["input"])
    faulthandler.cancel_dump_traceback_later()
    return answer


class _Watchdog:
    file: Any = None


def main() -> None:
    """Until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _Watchdog.file = os.fdopen(os.dup(2), "w", encoding="utf-8")
    faulthandler.enable(_Watchdog.file)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import ffswap.pipeline  # noqa: F401  what a run imports is loaded before files are watched

    watch = _Watch()
    for line in sys.stdin:
        answer = _answer(json.loads(line), watch)
        gc.collect()
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
