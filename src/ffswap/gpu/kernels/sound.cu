// Which rows of what a net gave are numbers throughout. A net in half precision may overflow in one face.
//
//     block (part, row)  ->  clears sound[row] if a value of its part of the row is infinite or no number
//        reads: its part of the row once, neighbours by neighbours
#include "common.cuh"

extern "C" __global__ void find_unsound(const void *__restrict__ values, uint64 row_values, int half,
                                        int *__restrict__ sound) {
    uint64 first = uint64(blockIdx.y) * row_values, step = uint64(gridDim.x) * blockDim.x;
    for (uint64 i = uint64(blockIdx.x) * blockDim.x + threadIdx.x; i < row_values; i += step)
        // Of what is no number every comparison is false.
        if (!(fabsf(load(values, first + i, half)) < 3.0e38f)) sound[blockIdx.y] = 0;
}
