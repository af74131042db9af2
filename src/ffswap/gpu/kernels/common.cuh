// What several kernel files use.
#pragma once

// Half precision without a header: its bits to a number.
__device__ __forceinline__ float half_to_float(unsigned short bits) {
#ifdef FFSWAP_ON_HOST
    _Float16 value;
    memcpy(&value, &bits, sizeof value);
    return value;
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}
