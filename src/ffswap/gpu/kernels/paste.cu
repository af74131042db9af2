// What a net made of a crop goes back into the planes of its frame: to code values, through the inverse of
// the crop's map, blended by a mask, rounded once. Luma and chroma each on their own grid.
//
//     thread (x, y, 2 * face + grid)  ->  sample (left + x, top + y) of luma (0), or of Cb and Cr (1)
//        reads: 4 values of the mask; where the mask is not 0: 4 pixels of the net's picture, all colours
//               (4 blocks of factor^2 where the crop shrinks into the frame)
//        of a face that is not sound nothing is read or written but its flag
//        reads and writes: its own sample, which no other thread of the launch touches: two faces of one
//               frame never share a launch
#include "common.cuh"

#define MOST_FACES 16

struct Part {
    int left, top, width, height;  // of the samples that the crop may reach
    Reading reading;               // from there to the crop
};

struct Face {
    int frame;
    int row;   // of the net's picture: its first tile
    int mask;  // row of the masks
    float opacity;
    Part part[2];  // luma, chroma
};

struct Faces {
    Face each[MOST_FACES];
};

struct Picture {
    int side;   // of the net's picture; the crop is `boost` times larger
    int boost;
    int half;   // 1: float16
    float std[3], mean[3];  // value * std + mean is red, green, blue of 0 to 1
};

struct Mask {
    typedef float Sample;
    const float *__restrict__ first;
    int width, height;
    float opacity;
    __device__ float at(int x, int y) const { return first[y * width + x] * opacity; }
};

// One of Y', Cb, Cr of the crop, in code values, not rounded.
struct Codes {
    typedef float Sample;
    const Frames *frames;
    const Picture *picture;
    const void *__restrict__ values;
    int row, plane, width, height;

    __device__ float unit(uint64 place, int colour) const {
        float value = load(values, place, picture->half) * picture->std[colour] + picture->mean[colour];
        return fminf(fmaxf(value, 0.0f), 1.0f);
    }

    __device__ float at(int x, int y) const {
        const Frames &f = *frames;
        int boost = picture->boost, side = picture->side;
        uint64 area = uint64(side) * side, tile = uint64(row) + y % boost * boost + x % boost;
        uint64 place = tile * 3 * area + uint64(y / boost) * side + x / boost;
        float red = unit(place, 0), green = unit(place + area, 1), blue = unit(place + 2 * area, 2);
        float luma = f.weight[0] * red + f.weight[1] * green + f.weight[2] * blue;
        float part = plane == 0 ? luma : (plane == 1 ? blue : red) - luma;
        float code = part * f.span[plane] + f.zero[plane > 0];
        return fminf(fmaxf(code, 0.0f), f.top);
    }
};

template <class T>
__device__ __forceinline__ void blend(const Frames &f, int frame, int plane, int x, int y, float over,
                                      float alpha) {
    T *sample = plane_of<T>(f, frame, plane) + uint64(y) * (f.pitch[plane] / int(sizeof(T))) + x;
    float base = float(*sample);
    // OpenCV rounds the change and not the sum: halves go to the even change.
    int value = int(base) + int(rintf((over - base) * alpha));
    *sample = T(max(0, min(value, int(T(~0)))));
}

extern "C" __global__ void paste(const __grid_constant__ Frames frames, const __grid_constant__ Faces faces,
                                 const __grid_constant__ Picture picture, const void *__restrict__ values,
                                 const float *__restrict__ masks, const int *__restrict__ sound) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int grid = blockIdx.z & 1;
    const Face &face = faces.each[blockIdx.z >> 1];
    const Part &part = face.part[grid];
    if (x >= part.width || y >= part.height) return;
    if (!sound[face.row / (picture.boost * picture.boost)]) return;
    int side = picture.side * picture.boost;
    Mask mask = {masks + uint64(face.mask) * side * side, side, side, face.opacity};
    float alpha = read(mask, part.reading, x, y, false, 0.0f);
    if (!(alpha > 0)) return;
#pragma unroll 1
    for (int plane = grid; plane <= 2 * grid; plane++) {
        Codes codes = {&frames, &picture, values, face.row, plane, side, side};
        float over = read(codes, part.reading, x, y, true, 0.0f);
        if (frames.depth == 8)
            blend<uint8>(frames, face.frame, plane, part.left + x, part.top + y, over, alpha);
        else
            blend<uint16>(frames, face.frame, plane, part.left + x, part.top + y, over, alpha);
    }
}
