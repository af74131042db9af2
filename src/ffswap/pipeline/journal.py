"""What an interrupted run leaves beside its output, and going on from there.

A folder beside the output holds the finished segments, what the run remembered at the end of the last
ones, and a journal: one JSON object a line, the first about the run, one for each finished segment. Each
file is on the disk before the line that tells of it, and the line before anything is built on it. So a
journal that ends anywhere, even amid a line, is right as far as it goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from ..closing import Closing
from ..errors import OptionError, OutputError, OutputExistsError, OutputWriteError
from ..files import PendingFile, write_error
from ..locks import FolderLocks, make_folder
from ..media import ReaderMark, SegmentFile, sound
from ..options import Unfinished

__all__ = ["Facts", "Journal", "Record", "work_folder"]

Facts: TypeAlias = Mapping[str, str]
"""All that the frames of an output depend on, by a name for messages."""

_SCHEMA = 1
_JOURNAL = "journal.jsonl"
_LOCK = "run"
_LONGEST_NAME = 255  # bytes that usual file systems allow for a name
_PACKETS, _STATE = re.compile(r"\d{5,}\.packets"), re.compile(r"\d{5,}\.npz")
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part(\.\w+)?")  # as `files.PendingFile` calls them
_KEPT_STATES = 2
"""States that are kept: the last, and the one before in case that the last segment is damaged."""

_ANEW = "give --discard to throw it away and start anew"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished segment.

    Attributes:
        file: of its packets.
        mark: where the next segment begins; None: this is the last.
        state: name of the file with what the run remembered at its end.
        state_crc32: of that.
        seconds: that the run had taken by then, interruptions left out.
        summary: of the whole clip, with the last segment, else None.
    """

    file: SegmentFile
    mark: ReaderMark | None
    state: str
    state_crc32: int
    seconds: float
    summary: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Record:
        """From a line of the journal.

        Raises:
            TypeError: it is none.
        """
        mark = values["mark"]
        known = {
            "file": _plain(SegmentFile, values["file"]),
            "mark": None if mark is None else _plain(ReaderMark, mark),
        }
        record = cls(**{**values, **known})
        # Names of ours: another one would be read, and removed when it is not needed any more.
        if not (_PACKETS.fullmatch(record.file.name) and _STATE.fullmatch(record.state)):
            raise TypeError(f"files {record.file.name!r} and {record.state!r}")
        return record


def _plain(kind: type[Any], values: Any) -> Any:
    """An object of a dataclass of plain fields.

    Raises:
        TypeError: a field is unknown, missing or of another type.
    """
    for name, wanted in get_type_hints(kind).items():
        if not isinstance(values[name], wanted):
            raise TypeError(f"{name} is {values[name]!r}")
    return kind(**values)


def work_folder(output: Path) -> Path:
    """Where a run keeps what it needs to go on after an interruption."""
    name = f".{output.name}.ffswap"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(output.name)).hexdigest()}.ffswap"
    return output.with_name(name)


class Journal(Closing):
    """The work folder of one output. Nobody else may use it meanwhile.

    Closing it keeps what is finished; if nothing is, the folder goes.

    Args:
        output: of the run.
        facts: what its frames depend on.
        unfinished: what to do with what an earlier run has left.

    Attributes:
        folder: of the files.
        records: finished segments, in order, all of them whole.
        peak_bytes: largest size of the folder so far.

    Raises:
        OptionError: a run is to go on, and something is not as it was.
        OutputExistsError: an earlier run left something, and nobody said what to do with it; or
            another process is writing this output.
        OutputWriteError: the folder cannot be written to.
    """

    def __init__(self, output: Path, facts: Facts, unfinished: Unfinished) -> None:
        self._output, self.folder = output, work_folder(output)
        self.records: list[Record] = []
        self.peak_bytes = 0
        self._removed = False
        if not output.parent.is_dir():  # the writer says it better
            PendingFile(output, overwrite=True).discard()
        if self.folder.is_symlink():  # what lies at its other end would be removed
            raise OutputWriteError(
                "a link is where the finished segments go", file=self.folder, hint="remove it"
            )
        make_folder(self.folder, "segments")
        self._locks = FolderLocks(self.folder, "segments")
        if not self._locks.take(_LOCK):
            raise OutputExistsError(
                "another run is writing this output", file=output,
                hint="wait for it, or name another file",
            )  # fmt: skip
        try:
            self._begin(facts, unfinished)
        except BaseException:
            self._locks.release(_LOCK)
            raise

    def _begin(self, facts: Facts, unfinished: Unfinished) -> None:
        then, records, temporary = self._read()
        if unfinished == "refuse" and records:
            raise OutputExistsError(
                f"an interrupted run has left {_segments(len(records))} of this output",
                file=self._output,
                hint=f"--resume goes on from there; {_ANEW}",
            )
        if unfinished == "resume" and records:
            self._check(then, facts)
            self.records = self._whole(records)
        for name in temporary:
            (self._output.parent / Path(name).name).unlink(missing_ok=True)
        self._clean()
        lines = [{"journal": _SCHEMA, "output": self._output.name, "facts": dict(facts)}]
        lines += [asdict(record) for record in self.records]
        self._replace(_JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())
        self._weigh()

    def _read(self) -> tuple[Facts | None, list[Record], list[str]]:
        """Facts, finished segments and temporary outputs of the run that was here before."""
        facts: Facts | None = None
        records: list[Record] = []
        temporary: list[str] = []
        try:
            text = (self.folder / _JOURNAL).read_text("utf-8", errors="replace")
        except OSError:
            return None, [], []
        for line in text.splitlines():
            try:
                values = json.loads(line)
                if "journal" in values:
                    facts = dict(values["facts"]) if values["journal"] == _SCHEMA else None
                elif "temporary" in values:
                    if _TEMPORARY.fullmatch(values["temporary"]):
                        temporary.append(values["temporary"])
                else:
                    records.append(Record.read(values))
            except (ValueError, TypeError, KeyError, RecursionError):
                break
        return facts, records, temporary

    def _check(self, then: Facts | None, now: Facts) -> None:
        if then is None:
            raise OptionError(
                f"the interrupted run of {self._output} was that of another version of ffswap",
                hint=_ANEW,
            )
        changed = [
            _change(name, then.get(name), now.get(name))
            for name in [*then, *(name for name in now if name not in then)]
            if then.get(name) != now.get(name)
        ]
        if changed:
            raise OptionError(
                f"the interrupted run of {self._output} cannot go on: {'; '.join(changed)}",
                hint=f"give the same files and options as before, or {_ANEW[5:]}",
            )

    def _whole(self, records: list[Record]) -> list[Record]:
        """The first records, as far as their files are sound and the state at their end is there."""
        count = 0
        while count < len(records) and sound(self.folder, records[count].file):
            count += 1
        while count and not self._has_state(records[count - 1]):
            count -= 1
        return records[:count]

    def _has_state(self, record: Record) -> bool:
        try:
            return zlib.crc32((self.folder / record.state).read_bytes()) == record.state_crc32
        except OSError:
            return False

    def _clean(self) -> None:
        """Remove what no record tells of."""
        kept = {record.file.name for record in self.records} | {f".{_LOCK}.lock", _JOURNAL}
        kept |= {record.state for record in self.records[-_KEPT_STATES:]}
        for file in self.folder.iterdir():
            if file.name not in kept:
                with contextlib.suppress(OSError):
                    file.unlink()

    @property
    def next_file(self) -> Path:
        """Where the packets of the next segment go."""
        return self.folder / f"{len(self.records):05d}.packets"

    def add(
        self,
        file: SegmentFile,
        mark: ReaderMark | None,
        state: bytes,
        seconds: float,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell of a finished segment; see `Record`.

        Args:
            file: of its packets.
            mark: where the next one begins; None: it is the last.
            state: what the run remembers at its end.
            seconds: that the run has taken so far.
            summary: of the whole clip, with the last.

        Raises:
            OutputWriteError: the disk is full or failed.
        """
        name = f"{len(self.records):05d}.npz"
        self._replace(name, state)
        record = Record(
            file=file, mark=mark, state=name, state_crc32=zlib.crc32(state), seconds=seconds,
            summary=summary,
        )  # fmt: skip
        self._append(asdict(record))
        self.records.append(record)
        self._weigh()
        for old in self.records[:-_KEPT_STATES][-1:]:
            (self.folder / old.state).unlink(missing_ok=True)

    def begins(self, temporary: Path) -> None:
        """Tell of the file that will become the output, so that it goes if this run is killed."""
        self._append({"temporary": temporary.name})

    def state(self) -> bytes:
        """What the run remembered at the end of the last finished segment."""
        try:
            return (self.folder / self.records[-1].state).read_bytes()
        except OSError as error:
            raise OutputError("cannot be read", file=self.folder) from error

    def _append(self, values: Mapping[str, Any]) -> None:
        try:
            with (self.folder / _JOURNAL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(error, self._output) from error

    def _replace(self, name: str, data: bytes) -> None:
        pending = PendingFile(self.folder / name, overwrite=True)
        try:
            pending.temporary.write_bytes(data)
            pending.commit()
        except OSError as error:
            raise write_error(error, self._output) from error
        finally:
            pending.discard()

    def _weigh(self) -> None:
        size = sum(file.stat().st_size for file in self.folder.iterdir())
        self.peak_bytes = max(self.peak_bytes, size)

    def remove(self) -> None:
        """The output is there: throw everything away."""
        self._removed = True
        self._locks.release(_LOCK)
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let others use the folder; it goes if there is nothing in it to go on from."""
        if self._removed:
            return
        if not self.records:
            self.remove()
        else:
            self._removed = True
            self._locks.release(_LOCK)


def _segments(count: int) -> str:
    return "1 finished segment" if count == 1 else f"{count} finished segments"


def _change(name: str, then: str | None, now: str | None) -> str:
    if then is None or now is None:
        return f"{name} was {'not ' if then is None else ''}given{'' if then is None else ', and is not'}"
    if name.startswith("content of "):
        return f"{name.removeprefix('content of ')} has changed"
    return f"{name} was {then}, and is {now} now"
