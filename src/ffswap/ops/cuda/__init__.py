"""The work between the nets on an NVIDIA GPU."""
