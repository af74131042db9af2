// What several kernel files use.
#pragma once

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned long long uint64;

// ---- half precision, without a header -----------------------------------------------------------

#ifdef FFSWAP_ON_HOST
inline float from_half(uint16 bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return float(half);
}
#else
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
