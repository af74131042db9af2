// Lets a kernel file be compiled by a C++ compiler and run on the CPU, so that its arithmetic can be
// compared with its reference on a machine without a GPU. The threads of a block are fibres that hand
// over at __syncthreads(); blocks run one after another. It is for checking, not for speed, and says
// nothing about races or about the memory model of a GPU.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#define FFSWAP_ON_HOST 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __constant__ static const
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace on_host {
constexpr size_t kStackBytes = 256 << 10;
static ucontext_t scheduler;
static std::vector<ucontext_t> fibres;
static std::vector<char> finished;
static std::vector<dim3> places;
static std::vector<std::vector<char>> stacks;
static size_t current;
static void (*body)(void **);
static void **arguments;

inline void enter() {
    body(arguments);
    finished[current] = 1;
    swapcontext(&fibres[current], &scheduler);
}

inline void yield() { swapcontext(&fibres[current], &scheduler); }

inline void run_block() {
    size_t n = size_t(blockDim.x) * blockDim.y * blockDim.z;
    fibres.resize(n);
    finished.assign(n, 0);
    places.resize(n);
    if (stacks.size() < n) stacks.resize(n);
    for (size_t i = 0; i < n; i++) {
        if (stacks[i].empty()) stacks[i].resize(kStackBytes);
        places[i] = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y),
                     unsigned(i / blockDim.x / blockDim.y)};
        getcontext(&fibres[i]);
        fibres[i].uc_stack.ss_sp = stacks[i].data();
        fibres[i].uc_stack.ss_size = stacks[i].size();
        fibres[i].uc_link = &scheduler;
        makecontext(&fibres[i], enter, 0);
    }
    for (bool left = true; left;) {
        left = false;
        for (current = 0; current < n; current++) {
            if (finished[current]) continue;
            threadIdx = places[current];
            swapcontext(&scheduler, &fibres[current]);
            left = left || !finished[current];
        }
    }
}

template <class... A, size_t... I>
inline void apply(void (*kernel)(A...), void **values, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A> *>(values[I])...);
}

template <class... A>
inline void call(void (*kernel)(A...), void **values) {
    apply(kernel, values, std::index_sequence_for<A...>{});
}

inline void launch(void (*one)(void **), void **values, const unsigned *grid, const unsigned *block) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = one;
    arguments = values;
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) run_block();
}
}  // namespace on_host

inline void __syncthreads() { on_host::yield(); }
template <class T> inline T atomicAdd(T *at, T value) { T old = *at; *at += value; return old; }
template <class T> inline T atomicMax(T *at, T value) { T old = *at; if (value > old) *at = value; return old; }
template <class T> inline T atomicMin(T *at, T value) { T old = *at; if (value < old) *at = value; return old; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline int __float2int_rn(float a) { return int(std::lrintf(a)); }
inline int __double2int_rn(double a) { return int(std::lrint(a)); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
