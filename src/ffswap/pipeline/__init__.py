"""Runs of the whole pipeline: what a run will use, the run itself, and what it reports."""
