"""What a run remembers at the end of a segment, as bytes: plain arrays and JSON, nothing that runs code."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from ..errors import OutputError

__all__ = ["packed", "unpacked"]

_TREE = "tree"
_ARRAY = "array"


def packed(state: Any) -> bytes:
    """Numbers, text, None, lists, dicts with text as keys, NumPy arrays and NumPy numbers as one ``.npz`` file.

    What comes back has the same values and types, to the last bit; tuples come back as lists.
    """
    arrays: dict[str, Any] = {}
    text = json.dumps(_without_arrays(state, arrays))
    out = io.BytesIO()
    arrays[_TREE] = np.frombuffer(text.encode(), np.uint8)
    np.savez(out, **arrays)
    return out.getvalue()


def unpacked(data: bytes) -> Any:
    """What `packed` was given.

    Raises:
        OutputError: these are no such bytes.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            tree = json.loads(file[_TREE].tobytes())
            return _with_arrays(tree, {name: file[name] for name in file.files})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"the state of an interrupted run cannot be read ({error})") from error


def _without_arrays(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name, "scalar": isinstance(value, np.generic)}
    if isinstance(value, dict):
        return {"dict": {key: _without_arrays(one, arrays) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_without_arrays(one, arrays) for one in value]
    return value


def _with_arrays(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        array = arrays[value[_ARRAY]]
        return array[()] if value["scalar"] else array
    return {key: _with_arrays(one, arrays) for key, one in value["dict"].items()}
