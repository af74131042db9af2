"""The error tree: what its docstring draws, what a message says."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from ffswap import errors
from ffswap.errors import FfswapError

CLASSES = [getattr(errors, name) for name in errors.__all__]


def drawn() -> dict[str, tuple[str, str | None]]:
    """Name -> (name of the class above, builtin) as the module's docstring draws it."""
    tree: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ([│├└─ ]*)(\w+Error)(?: +\((\w+)\))?.*", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            tree[match[2]] = (path[depth - 1] if depth else "Exception", match[3])
    return tree


def test_the_docstring_draws_the_tree():
    tree = drawn()
    assert sorted(tree) == sorted(errors.__all__)
    for cls in CLASSES:
        above, builtin = tree[cls.__name__]
        assert cls.__bases__[0].__name__ == above
        assert [b.__name__ for b in cls.__bases__[1:]] == ([builtin] if builtin else [])


def test_all_is_sorted_and_complete():
    found = [
        n for n, c in vars(errors).items() if inspect.isclass(c) and c.__module__ == errors.__name__
    ]
    assert errors.__all__ == sorted(found)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_takes_and_shows_the_same(cls):
    error = cls("17 is too many", hint="take 3", file=Path("a/b.mp4"), stage="decode", frame=0)
    assert isinstance(error, FfswapError)
    assert str(error) == f"{Path('a/b.mp4')}: 17 is too many (stage decode, frame 0)"
    assert (error.message, error.hint, error.stage, error.frame) == (
        "17 is too many", "take 3", "decode", 0,
    )  # fmt: skip
    assert error.file == str(Path("a/b.mp4"))


@pytest.mark.parametrize(
    ("where", "text"),
    [({}, "no"), ({"frame": 3}, "no (frame 3)"), ({"stage": "swap"}, "no (stage swap)"),
     ({"file": "x"}, "x: no"), ({"hint": "yes"}, "no")],
)  # fmt: skip
def test_a_message_says_only_what_is_known(where, text):
    assert str(FfswapError("no", **where)) == text


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_another_process(cls):
    error = pickle.loads(pickle.dumps(cls("no", hint="h", file="f", frame=2)))
    assert type(error) is cls
    assert (str(error), error.hint) == ("f: no (frame 2)", "h")


def test_user_machine_and_own_faults_are_different_branches():
    branches = (errors.UserError, errors.MachineError, errors.CancelledError, errors.InternalError)
    for cls in CLASSES:
        assert sum(issubclass(cls, b) for b in branches) == (cls is not FfswapError)
