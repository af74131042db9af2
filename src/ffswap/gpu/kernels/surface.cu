// Pictures of hardware decoders and encoders, to and from the planes of one frame.
// Reference: plain NumPy slices in tests/gpu/test_surface_kernels.py.
//
//   surface of a decoder or encoder            planes of a frame
//     luma    Y Y Y Y Y Y ...        <──>        Y  Y  Y  Y ...     blocks of z = 0, a thread a sample
//     chroma  B R B R B R ...        <──>        B  B  B ...        blocks of z = 1, a thread a pair
//                                                R  R  R ...
//
// NV12, NV16 and NV24 have one byte a sample; P010 and P016 two, in whose high bits the sample lies.
// Planar surfaces have Cb and Cr apart, in rows of the same pitch. Neighbouring threads read and write
// neighbouring samples or pairs; what lies behind the last column of a row is neither read nor written.

#include "common.cuh"

struct Surface {
    uint64 luma, cb, cr;
    int luma_pitch, chroma_pitch;  // bytes
    int chroma_step;               // from a Cb to the next, samples: 2 where Cr lies between, else 1
    int shift;                     // bits by which samples are shifted up
};

struct FramePlanes {
    uint64 address[3];  // Y, Cb, Cr
    int pitch[3];       // bytes
    int width[2];       // of luma and of chroma, samples
    int height[2];
};

template <class Sample> __device__ __forceinline__ Sample *row_of(uint64 address, int pitch, int y) {
    return (Sample *)(address + (uint64)y * pitch);
}

template <class Sample, bool kRead>
__device__ __forceinline__ void move(Sample *surface, Sample *plane, int shift) {
    if (kRead)
        *plane = *surface >> shift;
    else
        *surface = *plane << shift;
}

template <class Sample, bool kRead>
__device__ __forceinline__ void copy(const Surface &surface, const FramePlanes &planes) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int chroma = blockIdx.z;
    if (x >= planes.width[chroma] || y >= planes.height[chroma]) return;
    if (!chroma) {
        move<Sample, kRead>(row_of<Sample>(surface.luma, surface.luma_pitch, y) + x,
                            row_of<Sample>(planes.address[0], planes.pitch[0], y) + x, surface.shift);
        return;
    }
    int at = x * surface.chroma_step;
    move<Sample, kRead>(row_of<Sample>(surface.cb, surface.chroma_pitch, y) + at,
                        row_of<Sample>(planes.address[1], planes.pitch[1], y) + x, surface.shift);
    move<Sample, kRead>(row_of<Sample>(surface.cr, surface.chroma_pitch, y) + at,
                        row_of<Sample>(planes.address[2], planes.pitch[2], y) + x, surface.shift);
}

// All: grid (columns, rows, 2), blocks of two dimensions, over the luma plane.
extern "C" __global__ void read_surface_8(Surface surface, FramePlanes planes) {
    copy<uint8, true>(surface, planes);
}

extern "C" __global__ void read_surface_16(Surface surface, FramePlanes planes) {
    copy<uint16, true>(surface, planes);
}

extern "C" __global__ void write_surface_8(Surface surface, FramePlanes planes) {
    copy<uint8, false>(surface, planes);
}

extern "C" __global__ void write_surface_16(Surface surface, FramePlanes planes) {
    copy<uint16, false>(surface, planes);
}
