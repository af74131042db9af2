"""Stages whose pictures stay in device memory: the same strategies as on the CPU, with kernels and engines."""
