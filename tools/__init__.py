"""Programs of the repository: set-up, demo, checks. None of them is part of the installed package."""
