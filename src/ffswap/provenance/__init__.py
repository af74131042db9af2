"""Content credentials (C2PA): who made an output, and what was done to it. The only door to c2pa."""
