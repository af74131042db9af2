// Crops of frames straight into the input of a net: colour, scale, layout and type in one pass.
//
//     thread (x, y, row)  ->  pixel (x, y) of picture `row` of the net's input, all three colours
//        row = crop * boost^2 + tile;  tile (i, j) holds every boost-th pixel of the crop from (j, i)
//        reads: 4 samples of each plane (4 blocks of factor^2 where the crop shrinks)
//        writes: one value per colour, neighbours side by side
#include "common.cuh"

#define MOST_CROPS 16

struct Crop {
    int frame;
    int size[2];  // width and height of the part that is read; the rest is black
    Reading luma, chroma;
};

struct Crops {
    Crop each[MOST_CROPS];
};

struct Form {
    int width, height;  // of the net's input
    int boost;
    int rows_last;      // 1: the colours of a pixel lie side by side (NHWC)
    int half;           // 1: float16
    int repeat;         // 1: the frame's edge goes on beyond it, 0: black
    int channel[3];     // where red, green and blue go
    float unit;         // value of white before mean and scale
    float mean[3];      // of red, green, blue
    float scale[3];
};

struct Rgb {
    float value[3];
};

template <class T> __device__ Rgb pixel(const Frames &f, const Crop &crop, int x, int y, bool repeat) {
    float part[3];
#pragma unroll
    for (int plane = 0; plane < 3; plane++) {
        const Reading &r = plane ? crop.chroma : crop.luma;
        float zero = f.zero[plane > 0];
        float code = read(read_only<T>(f, crop.frame, plane), r, x, y, repeat, zero);
        part[plane] = (code - zero) * f.gain[plane];
    }
    float luma = part[0], blue = part[1], red = part[2];
    return {{luma + red, luma - f.green[0] * red - f.green[1] * blue, luma + blue}};
}

extern "C" __global__ void crop(const __grid_constant__ Frames frames, const __grid_constant__ Crops crops,
                                const __grid_constant__ Form form, void *__restrict__ out) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int row = blockIdx.z, tiles = form.boost * form.boost;
    if (x >= form.width || y >= form.height) return;
    const Crop &one = crops.each[row / tiles];
    int crop_x = x * form.boost + row % tiles % form.boost;
    int crop_y = y * form.boost + row % tiles / form.boost;
    Rgb rgb = {{0, 0, 0}};
    if (crop_x < one.size[0] && crop_y < one.size[1])
        rgb = frames.depth == 8 ? pixel<uint8>(frames, one, crop_x, crop_y, form.repeat)
                                : pixel<uint16>(frames, one, crop_x, crop_y, form.repeat);
    uint64 area = uint64(form.width) * form.height, at = uint64(y) * form.width + x;
    for (int c = 0; c < 3; c++) {
        float unit = fminf(fmaxf(rgb.value[c], 0.0f), 1.0f);
        float value = (unit * form.unit - form.mean[c]) * form.scale[c];
        uint64 place = form.rows_last ? at * 3 + form.channel[c] : form.channel[c] * area + at;
        store(out, row * area * 3 + place, form.half, value);
    }
}
