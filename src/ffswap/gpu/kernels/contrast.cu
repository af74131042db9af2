// How light crops are: the mean lightness of OpenCV's 8-bit Lab picture, whole numbers throughout.
// Reference: ops/contrast.py (lift_dark).
//
//   crops (n, 3, pixels), 0..1   ──>  one block per crop; neighbouring threads read neighbouring pixels
//   tables, by value             ──>  shared memory, as neighbouring threads read far-apart entries
//   sum of each thread           ──>  shared memory, halved until one is left
//   means (n)                    <──  thread 0
//
// The tables are made by ops/cuda/contrast.py: code value to light, and luminance to lightness.

#include "common.cuh"

constexpr int kThreads = 512;
constexpr int kLevels = 2041;  // of luminance: 255 x 8, and 0

struct Tables {
    uint16 linear[256];
    uint8 lightness[kLevels];
};

__device__ __forceinline__ int code_of(float value) {
    return __float2int_rn(fminf(fmaxf(value * 255.0f, 0.0f), 255.0f));
}

// grid (n), block (kThreads). half: the crops are float16. The weights are OpenCV's, of 4096.
extern "C" __global__ void mean_lightness(const void *crops, int half, int pixels, Tables tables,
                                          float *means) {
    __shared__ uint16 linear[256];
    __shared__ uint8 lightness[kLevels];
    __shared__ uint64 sums[kThreads];
    int thread = threadIdx.x;
    for (int i = thread; i < 256; i += kThreads) linear[i] = tables.linear[i];
    for (int i = thread; i < kLevels; i += kThreads) lightness[i] = tables.lightness[i];
    __syncthreads();
    size_t red = (size_t)blockIdx.x * 3 * pixels, green = red + pixels, blue = green + pixels;
    uint64 sum = 0;
    for (int i = thread; i < pixels; i += kThreads) {
        // Red and blue have changed places, as in the reference.
        int first = linear[code_of(load(crops, blue + i, half))];
        int second = linear[code_of(load(crops, green + i, half))];
        int third = linear[code_of(load(crops, red + i, half))];
        sum += lightness[(871 * first + 2929 * second + 296 * third + 2048) >> 12];
    }
    sums[thread] = sum;
    __syncthreads();
    for (int step = kThreads / 2; step; step /= 2) {
        if (thread < step) sums[thread] += sums[thread + step];
        __syncthreads();
    }
    if (!thread) means[blockIdx.x] = (float)((double)sums[0] / pixels);
}
