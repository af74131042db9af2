// The heights of the peaks of heat maps: all that a landmark net's confidence needs of them.
// Reference: geometry/landmarks.py (decode_fan_heatmap).
//
//   heat maps (n, points, cells)  ──>  one block per map; neighbouring threads read neighbouring cells
//   largest of each thread        ──>  shared memory, halved until one is left
//   peaks (n, points)             <──  thread 0

#include "common.cuh"

constexpr int kThreads = 256;

// As NumPy's: what is no number wins.
__device__ __forceinline__ float larger(float a, float b) { return a != a || a > b ? a : b; }

// grid (maps), block (kThreads). half: the maps are float16.
extern "C" __global__ void peaks(const void *maps, int half, int cells, float *peaks) {
    __shared__ float largest[kThreads];
    int thread = threadIdx.x;
    size_t first = (size_t)blockIdx.x * cells;
    float best = load(maps, first, half);
    for (int i = thread; i < cells; i += kThreads) best = larger(best, load(maps, first + i, half));
    largest[thread] = best;
    __syncthreads();
    for (int step = kThreads / 2; step; step /= 2) {
        if (thread < step) largest[thread] = larger(largest[thread], largest[thread + step]);
        __syncthreads();
    }
    if (!thread) peaks[blockIdx.x] = largest[0];
}
