"""The batch: made free where a net was exported for one row, and proven to keep rows apart."""

from .free import free_batch
from .proof import RowProof, Run, drawn_feeds, prove_rows

__all__ = ["RowProof", "Run", "drawn_feeds", "free_batch", "prove_rows"]
