// What the kernels share: frames as they lie in device memory, half precision, and how a plane is read
// through an affine map. The readings are those of OpenCV 5 (warpAffine, resize by area), rounding by
// rounding, so that the CPU and the GPU paint the same values.
//
//     DeviceFrames.buffer   [ frame 0: Y rows | Cb rows | Cr rows ][ frame 1: ... ] ...
//                             offset[0]  offset[1] offset[2]        frame_bytes
#pragma once

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned long long uint64;

// ops/cuda/frames.py packs this: the same fields in the same order.
struct Frames {
    uint64 base;         // address of the first frame
    uint64 frame_bytes;  // from one frame to the next
    uint64 offset[3];    // bytes from a frame's start to its Y, Cb and Cr
    int pitch[3];        // bytes from row to row
    int width[2];        // luma, chroma; samples
    int height[2];
    int log2_step[2];    // of the chroma grid: x, y
    int depth;           // bits of a sample; above 8 a sample has two bytes
    float zero[2];       // code value of luma 0, of chroma 0
    float gain[3];       // from code values to luma, blue minus luma, red minus luma, unit scale
    float green[2];      // shares of red minus luma and blue minus luma in green
    float weight[3];     // of red, green and blue in luma
    float span[3];       // code values for luma, blue minus luma and red minus luma of 1
    float top;           // largest code value
};

// ops/cuda/reading.py packs this.
struct Reading {
    float map[6];     // from pixels of the result to blocks, counted from `low`: x, y, 1 to x and to y
    int low[2];       // x, y of the first block
    int factor;       // side of a block, samples
    float mean;       // 1 / samples of a block
    int whole;        // columns of the result that OpenCV computes in whole vectors
};

template <class T> struct Plane {
    typedef T Sample;
    const T *__restrict__ first;
    int pitch;  // samples
    int width, height;
    __device__ float at(int x, int y) const { return float(first[uint64(y) * pitch + x]); }
};

template <class T> __device__ __forceinline__ T *plane_of(const Frames &f, int frame, int plane) {
    return reinterpret_cast<T *>(f.base + uint64(frame) * f.frame_bytes + f.offset[plane]);
}

template <class T> __device__ __forceinline__ Plane<T> read_only(const Frames &f, int frame, int plane) {
    int grid = plane > 0;
    int pitch = f.pitch[plane] / int(sizeof(T));
    return {plane_of<T>(f, frame, plane), pitch, f.width[grid], f.height[grid]};
}

__device__ __forceinline__ int clamped(int value, int last) { return max(0, min(value, last)); }

// ---- half precision, without a header -----------------------------------------------------------

#ifdef FFSWAP_ON_HOST
#define __grid_constant__
#define __noinline__
inline uint16 to_half(float value) {
    _Float16 half = _Float16(value);
    uint16 bits;
    memcpy(&bits, &half, 2);
    return bits;
}
inline float from_half(uint16 bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return float(half);
}
#else
__device__ __forceinline__ uint16 to_half(float value) {
    uint16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
__device__ __forceinline__ float from_half(uint16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#endif

// Value i of an array of float32, or of float16.
__device__ __forceinline__ float load(const void *array, uint64 i, bool half) {
    return half ? from_half(static_cast<const uint16 *>(array)[i]) : static_cast<const float *>(array)[i];
}

__device__ __forceinline__ void store(void *array, uint64 i, bool half, float value) {
    if (half)
        static_cast<uint16 *>(array)[i] = to_half(value);
    else
        static_cast<float *>(array)[i] = value;
}

// ---- reading ------------------------------------------------------------------------------------

// Is a source's sample an integer? Its means and readings are rounded, as OpenCV rounds them.
template <class T> struct Whole { static const bool value = true; };
template <> struct Whole<float> { static const bool value = false; };

// The sample at x, y; beyond the edge its nearest one, or `outside`.
template <class S>
__device__ __forceinline__ float sample(const S &s, int x, int y, bool repeat, float outside) {
    if (!repeat && (x < 0 || y < 0 || x >= s.width || y >= s.height)) return outside;
    return s.at(clamped(x, s.width - 1), clamped(y, s.height - 1));
}

// The mean of a block of integer samples.
template <class S>
__device__ float whole_mean(const S &s, int x0, int y0, const Reading &r, bool repeat, float outside) {
    uint64 total = 0;
#pragma unroll 1
    for (int y = y0; y < y0 + r.factor; y++) {
        unsigned row = 0;
#pragma unroll 4
        for (int x = x0; x < x0 + r.factor; x++) row += unsigned(sample(s, x, y, repeat, outside));
        total += row;
    }
    return r.factor == 2 ? float((unsigned(total) + 2) >> 2) : rintf(float(total) * r.mean);
}

// The mean of a block of floats: added four by four, as OpenCV does it (pair by pair if there are four).
template <class S>
__device__ float float_mean(const S &s, int x0, int y0, const Reading &r, bool repeat, float outside) {
    if (r.factor == 2) {
        float above = sample(s, x0, y0, repeat, outside) + sample(s, x0 + 1, y0, repeat, outside);
        float below = sample(s, x0, y0 + 1, repeat, outside) + sample(s, x0 + 1, y0 + 1, repeat, outside);
        return (above + below) * r.mean;
    }
    float total = 0, four = 0;
    int left = r.factor * r.factor, held = 0;
#pragma unroll 1
    for (int y = y0; y < y0 + r.factor; y++)
#pragma unroll 1
        for (int x = x0; x < x0 + r.factor; x++, left--) {
            float value = sample(s, x, y, repeat, outside);
            if (held == 0 && left < 4) {
                total += value;
            } else {
                four = held == 0 ? value : four + value;
                held = (held + 1) & 3;
                if (held == 0) total += four;
            }
        }
    return total * r.mean;
}

// Not inlined: it would stand in a kernel a dozen times, and a call is nothing beside what it reads.
template <class S>
__device__ __noinline__ float mean_of(S s, int bx, int by, Reading r, bool repeat, float outside) {
    // Blocks further out are the same as the first one that lies wholly outside.
    int x = max(-1, min(bx + r.low[0], s.width / r.factor + 1)) * r.factor;
    int y = max(-1, min(by + r.low[1], s.height / r.factor + 1)) * r.factor;
    if (Whole<typename S::Sample>::value) return whole_mean(s, x, y, r, repeat, outside);
    return float_mean(s, x, y, r, repeat, outside);
}

template <class S>
__device__ __forceinline__ float block(const S &s, int bx, int by, const Reading &r, bool repeat,
                                       float outside) {
    return r.factor == 1 ? sample(s, bx, by, repeat, outside) : mean_of(s, bx, by, r, repeat, outside);
}

// Where pixel (x, y) of the result is read. OpenCV's vectors and the columns behind them round differently.
__device__ __forceinline__ float place(const float *map, float x, float y, bool vector) {
    return vector ? fmaf(map[0], x, map[1] * y + map[2]) : fmaf(x, map[0], map[1] * y) + map[2];
}

// A source through a map, at pixel (x, y) of the result: bilinear between means of blocks.
template <class S>
__device__ float read(const S &s, const Reading &r, int x, int y, bool repeat, float outside) {
    bool vector = x < r.whole;
    float at_x = place(r.map, float(x), float(y), vector);
    float at_y = place(r.map + 3, float(x), float(y), vector);
    float low_x = floorf(at_x), low_y = floorf(at_y);
    int bx = int(low_x), by = int(low_y);
    float dx = at_x - low_x, dy = at_y - low_y;
    float a = block(s, bx, by, r, repeat, outside), b = block(s, bx + 1, by, r, repeat, outside);
    float c = block(s, bx, by + 1, r, repeat, outside), d = block(s, bx + 1, by + 1, r, repeat, outside);
    float above = fmaf(dx, b - a, a), below = fmaf(dx, d - c, c);
    float value = fmaf(dy, below - above, above);
    return Whole<typename S::Sample>::value ? rintf(value) : value;
}
