// Thumbnails of the luma planes of a batch of frames, for finding cuts: all that the host sees of them.
// Reference: ops/thumbnails.py, which lets OpenCV resize every `step`-th sample of every `step`-th row.
//
//   luma of frame b (base + b * frame_bytes)   ──>  one block per frame, one thread per thumbnail pixel
//     . . # . . # . . # . .   every step-th        reads the samples (#) that its taps name: 16 of a
//     . . . . . . . . . . .   sample of every      1080p frame, so their distance does not matter
//     . . # . . # . . # . .   step-th row
//   taps of columns and rows, by value         ──>  weights, in OpenCV's order of operations
//   thumbnails (n, rows, columns)              <──  one value each, of the planes' type

#include "common.cuh"

constexpr int kColumns = 32, kRows = 18;

// Samples first, first + 1, ... of one axis, in steps.
struct Tap {
    int first, count;
    float start, middle, end;  // weights of the first sample, of those between, of the last
};

struct Taps {
    int step;    // samples
    int whole;   // samples in a pixel, if all of them count the same; else 0
    Tap columns[kColumns];
    Tap rows[kRows];
};

__device__ __forceinline__ float weight(const Tap &tap, int k) {
    return k == 0 ? tap.start : k == tap.count - 1 ? tap.end : tap.middle;
}

template <class Sample>
__device__ __forceinline__ int pixel(const uint8 *luma, int pitch, const Taps &taps) {
    const Tap &column = taps.columns[threadIdx.x], &row = taps.rows[threadIdx.y];
    float total = 0;
    unsigned sum = 0;
    for (int j = 0; j < row.count; j++) {
        const Sample *line = (const Sample *)(luma + (size_t)(row.first + j) * taps.step * pitch);
        float across = 0;
        for (int i = 0; i < column.count; i++) {
            Sample sample = line[(size_t)(column.first + i) * taps.step];
            sum += sample;
            across += sample * weight(column, i);
        }
        total += across * weight(row, j);
    }
    if (!taps.whole) return __float2int_rn(total);
    // Of four samples OpenCV rounds a half up, of more to the even number.
    return taps.whole == 4 && row.count == 2 ? int(sum + 2 >> 2) : __float2int_rn(sum * (1.0f / taps.whole));
}

// grid (n), block (kColumns, kRows)
extern "C" __global__ void thumbnails_8(uint64 base, uint64 frame_bytes, int pitch, Taps taps, uint8 *to) {
    const uint8 *luma = (const uint8 *)(base + blockIdx.x * frame_bytes);
    to[(blockIdx.x * kRows + threadIdx.y) * kColumns + threadIdx.x] = pixel<uint8>(luma, pitch, taps);
}

extern "C" __global__ void thumbnails_16(uint64 base, uint64 frame_bytes, int pitch, Taps taps, uint16 *to) {
    const uint8 *luma = (const uint8 *)(base + blockIdx.x * frame_bytes);
    to[(blockIdx.x * kRows + threadIdx.y) * kColumns + threadIdx.x] = pixel<uint16>(luma, pitch, taps);
}
