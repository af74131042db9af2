"""The priority of the thread that opens an encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["same_priority"]


@contextmanager
def same_priority() -> Iterator[None]:
    """Give the calling thread the priority back that it had.

    SVT-AV1 makes the thread that opens it a real-time one where it may, as root in a container: whatever
    that thread starts later would go before everything else on the machine.
    """
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)
