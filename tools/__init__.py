"""Programs for those who work on ffswap; none of them is installed."""
