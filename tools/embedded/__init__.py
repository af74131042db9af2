"""Recipe of the embedded models: how the files under src/ffswap/models/embedded came about."""
