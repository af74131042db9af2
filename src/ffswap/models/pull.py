"""Brings a model into the store: from its addresses, or from where the user says."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from ..errors import DownloadError, FfswapError, InputMissingError, ModelError, OptionError
from .download import Limits, Progress, discard, download, published_crc32
from .logins import without_login
from .pins import Pin
from .spec import ModelSpec
from .store import ModelStore

__all__ = ["Pulled", "Source", "addresses", "is_address", "is_one_file", "locate", "pull"]

Source = str | Path
"""An address of http or https, or a file."""

_ONNX = ".onnx"
_WEB = ("http", "https")


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A model that is in the store now.

    Attributes:
        pin: its file.
        fetched: it was brought just now; otherwise it was there.
    """

    pin: Pin
    fetched: bool


def is_address(text: str) -> bool:
    """Whether a source is fetched over a network."""
    return "://" in text and _split(text).scheme.lower() != "file"


def is_one_file(text: str) -> bool:
    """Whether a source is the file of one model, and not a place where there may be more."""
    if "://" not in text:
        return not Path(text).expanduser().is_dir()
    if "{file}" in text or not _split(text).path.lower().endswith(_ONNX):
        return False
    return is_address(text) or not Path(url2pathname(_split(text).path)).is_dir()


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise OptionError(f"{without_login(text)!r} is not an address ({error})") from error


def locate(spec: ModelSpec, text: str) -> Source:
    """Where the file of a model is, if a folder, a file or an address holds it.

    ``{release}`` and ``{file}`` in an address stand for these of the model. An address or a path
    that does not end in ``.onnx`` is a folder with the model's file in it.

    Args:
        spec: of the model.
        text: a folder, a file, or an address of http, https or file.

    Raises:
        OptionError: an address of another sort.
        InputMissingError: a path where nothing is.
    """
    if "://" not in text:
        return _in_folder(spec, Path(text).expanduser())
    text = text.replace("{release}", spec.release).replace("{file}", spec.file)
    parts = _split(text)
    scheme = parts.scheme.lower()
    if scheme == "file":
        return _in_folder(spec, Path(url2pathname(parts.path)))
    if scheme not in _WEB or not parts.netloc:
        raise OptionError(
            f"{without_login(text)!r} is not an address that can be fetched; allowed: https, http, file, or a path"
        )
    if parts.path.lower().endswith(_ONNX):
        return text
    path = f"{parts.path.rstrip('/')}/{spec.file}"
    return parts._replace(path=path).geturl()


def _in_folder(spec: ModelSpec, path: Path) -> Path:
    file = path / spec.file if path.is_dir() else path
    if not file.exists():
        raise InputMissingError(f"no such file; wanted: the file of {spec.name}", file=file)
    return file


def addresses(spec: ModelSpec) -> tuple[str, ...]:
    """Where the catalogue says that the file of a model is, to show it: the best address first."""
    return tuple(
        without_login(url).replace("{release}", spec.release).replace("{file}", spec.file)
        for url in spec.urls
    )


def pull(
    store: ModelStore,
    spec: ModelSpec,
    sources: Sequence[str],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
    cancel: threading.Event | None = None,
) -> Pulled:
    """Bring a model into the store, unless it is there and whole.

    The sources are tried in their order, until one gives the file that is wanted. Where the
    catalogue knows no digest, the CRC-32 in the ``.hash`` file beside it is heeded, if there is
    one. Licences are the caller's matter.

    Args:
        store: that it comes into.
        spec: of the model.
        sources: folders, files and addresses, as `locate` takes them.
        limits: how long to wait for servers, and how often to try.
        progress: is called from this thread.
        waiting: is called once if another process is fetching the model.
        cancel: ends it when it is set; what was fetched stays, to go on later.

    Raises:
        DownloadError: no source has the file.
        ModelError: a source has another file than the one that was published or pinned; or a file
            that was never added is in its place.
        InputMissingError: the one source is a path where nothing is.
        OptionError: a source is none, or the model is embedded.
        OutputWriteError: the folder may not be written to, or the disk is full.
        CancelledError: `cancel` was set.
    """
    if spec.embedded:
        raise OptionError(f"{spec.name} comes with ffswap; there is nothing to pull")
    with store.lock(spec, cancel=cancel, waiting=waiting):
        state = store.status(spec)
        if state.status == "installed" and state.pin is not None:
            return Pulled(pin=state.pin, fetched=False)
        if state.status == "unpinned":
            return Pulled(pin=_adopt(store, spec, cancel), fetched=False)
        failures: list[FfswapError] = []
        for text in sources:
            try:
                source = locate(spec, text)
                if isinstance(source, Path):
                    pin = store.add(spec, source, cancel=cancel)
                else:
                    pin = _download(store, spec, source, limits or Limits(), progress, cancel)
            except (DownloadError, InputMissingError, ModelError) as error:
                failures.append(error)
            else:
                discard(store.part(spec))
                return Pulled(pin=pin, fetched=True)
        raise _summary(spec, failures)


def _adopt(store: ModelStore, spec: ModelSpec, cancel: threading.Event | None) -> Pin:
    """Take a file that somebody has put into the folder, if it is known to be the right one."""
    place = store.place(spec)
    take = f"`ffswap models add {spec.name} {shlex.quote(str(place))}` takes it as it is"
    if not (spec.sha256 or spec.crc32):
        raise ModelError("is there, but was never added", file=place, hint=f"{take}; or move it")
    return store.add(spec, place, cancel=cancel)


def _download(
    store: ModelStore,
    spec: ModelSpec,
    url: str,
    limits: Limits,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Pin:
    part = store.part(spec)
    crc32 = None
    if not store.known(spec):
        crc32 = published_crc32(url, limits=limits, cancel=cancel)
    while True:
        joined = download(url, part, limits=limits, progress=progress, cancel=cancel)
        try:
            # What follows a question mark may be a token, which is not for keeping.
            origin = without_login(url).partition("?")[0]
            return store.install(spec, part, origin, crc32=crc32, cancel=cancel)
        except ModelError:
            discard(part)
            # What was put together from two tries may be damaged where the first was cut off.
            if not joined:
                raise


def _summary(spec: ModelSpec, failures: Sequence[FfswapError]) -> FfswapError:
    """One error that tells of all: wrong bytes weigh more than none."""
    if len(failures) == 1 and isinstance(failures[0], InputMissingError | ModelError):
        return failures[0]
    told = "; ".join(map(str, failures)) or "no address of it is known"
    kind = ModelError if any(isinstance(one, ModelError) for one in failures) else DownloadError
    return kind(
        f"{spec.file} of {spec.name} was not brought: {told}",
        hint=f"try again later, or name a source that has it: `ffswap models pull {spec.name} "
        f"--from FOLDER|FILE|URL`; or fetch {spec.file} by other means, then "
        f"`ffswap models add {spec.name} {os.curdir}{os.sep}{spec.file}`",
    )
