"""The mathematics between the nets, in NumPy alone: the reference for everything fast."""
