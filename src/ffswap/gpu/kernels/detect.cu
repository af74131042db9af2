// Faces from the tensors of the published detectors, decoded and suppressed on the device.
// Reference: geometry/heads.py and geometry/boxes.py (non_maximum_suppression).
//
//   tensors of n pictures            one thread per candidate; block row y = picture
//   score  s s s s s s s s ...  ──>  above the threshold and sound?
//   box, points, of these only  ──>  slot = found[picture]++   (in any order)
//                                    keys[picture][slot] = score, candidate;  table[picture][slot]
//
//   keys, table of a picture    ──>  one block per picture: takes the largest key that is left,
//                                    writes its row, and drops what overlaps it, until none is left
//                                    or the limit is reached
//
// A key holds the score above the candidate's number, counted down: the largest is the highest score
// and, of equal ones, the first candidate. So the order in which threads arrive does not matter.
// yolo_face: values lie candidates apart, so neighbouring threads read neighbouring samples. The other
// heads have a row per anchor or cell; of it only those above the threshold read more than the score.

#include "common.cuh"

constexpr int kValues = 15;     // of a row: box 4, points 10, score
constexpr int kThreads = 256;   // of a block of `suppress`
constexpr int kYoloValues = 20; // of a candidate: box 4, score, five times x, y, confidence

struct Head {
    uint64 tensors[12];       // as the net gives them, batch first
    int first[4];          // candidates before each stride; last: all
    int columns[3];        // cells in a row of each stride
    unsigned half;         // bit k: tensor k is float16
    float score;           // threshold, 0 to 1
    float largest_value;   // from which a number is not sound
    float largest_growth;  // of a logarithm of YuNet
};

struct Place {
    int stride;  // pixels per cell
    int level;   // 0, 1, 2
    int index;   // of the candidate within its stride
    int count;   // candidates of its stride
};

__device__ __forceinline__ float tensor_value(const Head &head, int tensor, size_t at) {
    return load((const void *)head.tensors[tensor], at, head.half >> tensor & 1);
}

__device__ __forceinline__ Place place_of(const Head &head, int candidate) {
    int level = candidate < head.first[1] ? 0 : candidate < head.first[2] ? 1 : 2;
    return {8 << level, level, candidate - head.first[level], head.first[level + 1] - head.first[level]};
}

// A row of a table: false if one of its numbers cannot be computed with (too large, or none).
__device__ __forceinline__ bool read_row(const Head &head, int tensor, size_t row, int n, float *to) {
    bool sound = true;
    for (int i = 0; i < n; i++) {
        to[i] = tensor_value(head, tensor, row * n + i);
        sound = sound && fabsf(to[i]) < head.largest_value;
    }
    return sound;
}

__device__ __forceinline__ void box_around(const float *middle_extent, float *row) {
    for (int axis = 0; axis < 2; axis++) {
        float half = middle_extent[2 + axis] / 2.0f;
        row[axis] = middle_extent[axis] - half;
        row[2 + axis] = middle_extent[axis] + half;
    }
}

__device__ __forceinline__ void points_from(const float *offset, float x, float y, float stride, float *row) {
    for (int k = 0; k < 5; k++) {
        row[4 + 2 * k] = x + offset[2 * k] * stride;
        row[5 + 2 * k] = y + offset[2 * k + 1] * stride;
    }
}

struct YoloFace {
    static __device__ bool decode(const Head &head, int picture, int candidate, float *row) {
        size_t count = head.first[3], at = (size_t)picture * kYoloValues * count + candidate;
        row[14] = tensor_value(head, 0, at + 4 * count);
        if (!(row[14] > head.score)) return false;
        float values[kYoloValues];
        bool sound = true;
        for (int i = 0; i < kYoloValues; i++) {
            values[i] = tensor_value(head, 0, at + i * count);
            sound = sound && fabsf(values[i]) < head.largest_value;
        }
        box_around(values, row);
        for (int k = 0; k < 5; k++) {
            row[4 + 2 * k] = values[5 + 3 * k];
            row[5 + 2 * k] = values[6 + 3 * k];
        }
        return sound;
    }
};

struct Scrfd {
    static __device__ bool decode(const Head &head, int picture, int candidate, float *row) {
        Place place = place_of(head, candidate);
        size_t at = (size_t)picture * place.count + place.index;
        row[14] = tensor_value(head, place.level, at);
        if (!(row[14] >= head.score)) return false;
        float away[4], offset[10];
        if (!read_row(head, 3 + place.level, at, 4, away)) return false;
        if (!read_row(head, 6 + place.level, at, 10, offset)) return false;
        int cell = place.index / 2, columns = head.columns[place.level];
        float stride = place.stride, x = cell % columns * place.stride, y = cell / columns * place.stride;
        row[0] = x - away[0] * stride;
        row[1] = y - away[1] * stride;
        row[2] = x + away[2] * stride;
        row[3] = y + away[3] * stride;
        points_from(offset, x, y, stride, row);
        return true;
    }
};

struct YuNet {
    static __device__ bool decode(const Head &head, int picture, int candidate, float *row) {
        Place place = place_of(head, candidate);
        size_t at = (size_t)picture * place.count + place.index;
        row[14] = tensor_value(head, place.level, at) * tensor_value(head, 3 + place.level, at);
        if (!(row[14] >= head.score)) return false;
        float values[4], offset[10];
        if (!read_row(head, 6 + place.level, at, 4, values)) return false;
        if (!read_row(head, 9 + place.level, at, 10, offset)) return false;
        int columns = head.columns[place.level];
        float stride = place.stride;
        float x = place.index % columns * place.stride, y = place.index / columns * place.stride;
        values[0] = x + values[0] * stride;
        values[1] = y + values[1] * stride;
        values[2] = expf(fminf(values[2], head.largest_growth)) * stride;
        values[3] = expf(fminf(values[3], head.largest_growth)) * stride;
        box_around(values, row);
        points_from(offset, x, y, stride, row);
        return true;
    }
};

// Bits that are ordered like the number; + 0 makes the two zeros one.
__device__ __forceinline__ unsigned ordered(float number) {
    union {
        float number;
        unsigned bits;
    } both;
    both.number = number + 0.0f;
    return both.bits >> 31 ? ~both.bits : both.bits | 0x80000000u;
}

// grid (candidates / threads rounded up, n)
template <class Family>
__device__ __forceinline__ void collect(const Head &head, int *found, uint64 *keys, float *table) {
    int candidate = blockIdx.x * blockDim.x + threadIdx.x, picture = blockIdx.y;
    if (candidate >= head.first[3]) return;
    float row[kValues];
    if (!Family::decode(head, picture, candidate, row)) return;
    int slot = atomicAdd(&found[picture], 1);
    size_t at = (size_t)picture * head.first[3] + slot;  // there is room for all candidates
    keys[at] = (uint64)ordered(row[14]) << 32 | (0xffffffffu - candidate);
    for (int i = 0; i < kValues; i++) table[at * kValues + i] = row[i];
}

extern "C" __global__ void collect_yolo_face(Head head, int *found, uint64 *keys, float *table) {
    collect<YoloFace>(head, found, keys, table);
}

extern "C" __global__ void collect_scrfd(Head head, int *found, uint64 *keys, float *table) {
    collect<Scrfd>(head, found, keys, table);
}

extern "C" __global__ void collect_yunet(Head head, int *found, uint64 *keys, float *table) {
    collect<YuNet>(head, found, keys, table);
}

// Intersection by union, in the order of operations of geometry.boxes.box_iou.
__device__ __forceinline__ float box_iou(const float *one, const float *other) {
    float w = fmaxf(fminf(one[2], other[2]) - fmaxf(one[0], other[0]), 0.0f);
    float h = fmaxf(fminf(one[3], other[3]) - fmaxf(one[1], other[1]), 0.0f);
    float common = w * h;
    float area = (other[2] - other[0]) * (other[3] - other[1]) + (one[2] - one[0]) * (one[3] - one[1]);
    return common / fmaxf(area - common, 1e-9f);
}

// grid (n), block (kThreads). rows: (n, limit, kValues). counts: faces; limit + 1: there were more.
extern "C" __global__ void suppress(const int *found, uint64 *keys, const float *table, int candidates,
                                    float iou, int limit, int *counts, float *rows) {
    __shared__ uint64 largest[kThreads];
    __shared__ int slots[kThreads];
    int picture = blockIdx.x, thread = threadIdx.x;
    int left = found[picture];
    keys += (size_t)picture * candidates;
    table += (size_t)picture * candidates * kValues;
    rows += (size_t)picture * limit * kValues;
    const float *face = table;
    for (int kept = 0;; kept++) {
        uint64 key = 0;
        int slot = 0;
        for (int i = thread; i < left; i += kThreads) {
            if (!keys[i]) continue;
            // A comparison that is false for what is no number, as the reference's.
            if (kept && !(box_iou(face, table + (size_t)i * kValues) <= iou)) {
                keys[i] = 0;
            } else if (keys[i] > key) {
                key = keys[i];
                slot = i;
            }
        }
        largest[thread] = key;
        slots[thread] = slot;
        __syncthreads();
        for (int step = kThreads / 2; step; step /= 2) {
            if (thread < step && largest[thread + step] > largest[thread]) {
                largest[thread] = largest[thread + step];
                slots[thread] = slots[thread + step];
            }
            __syncthreads();
        }
        key = largest[0];
        slot = slots[0];
        if (!key || kept == limit) {
            if (!thread) counts[picture] = kept + (key != 0);
            return;
        }
        face = table + (size_t)slot * kValues;
        if (thread < kValues) rows[(size_t)kept * kValues + thread] = face[thread];
        if (!thread) keys[slot] = 0;
        __syncthreads();  // before the shared arrays and the key are used again
    }
}
