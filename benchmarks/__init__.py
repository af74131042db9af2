"""Measurements of the whole and of its parts. None of them is part of the installed package."""
