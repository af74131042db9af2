"""A small program with its header, for tests of how programs are compiled, kept and launched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER = """
#pragma once
struct Place { signed char tag; double factor; const float *from; short rows[3]; };
"""

# What each thread of a grid adds shows that grid, block, parameters and their places are right.
SOURCE = """
#include "common.cuh"
extern "C" __global__ void scale(float *to, Place place, int n, unsigned char step) {
    int i = (blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) to[i] = place.from[i] * (float)place.factor + place.rows[2] * step + place.tag;
}

__device__ unsigned long long nanoseconds() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

// Reads `from` only after a delay: what was written there meanwhile shows in `to`.
extern "C" __global__ void read_late(unsigned *to, const unsigned *from, int n, unsigned long long delay_ns) {
    if (threadIdx.x == 0)
        for (unsigned long long start = nanoseconds(); nanoseconds() - start < delay_ns;) {}
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = ((volatile const unsigned *)from)[i];
}

extern "C" __global__ void shared_sum(int *to, int n) {
    extern __shared__ int values[];
    values[threadIdx.x] = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
        int sum = 0;
        for (int i = 0; i < n; i++) sum += values[i];
        *to = sum;
    }
}
"""

PLACE = np.dtype(
    [("tag", "i1"), ("factor", "f8"), ("source", "u8"), ("rows", "i2", (3,))], align=True
)
"""`Place` of the header."""

SCALE_SIZES = (8, PLACE.itemsize, 4, 1)
"""Sizes of the parameters of `scale`."""


def write_probe(folder: Path) -> Path:
    """Put the program ``probe`` into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "probe.cu").write_text(SOURCE)
    (folder / "common.cuh").write_text(HEADER)
    return folder
