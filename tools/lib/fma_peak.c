/* The most multiply-adds that one core of this machine does in float32: prints GFLOP/s, two operations
   each, the best of some tries. Twelve independent sums hide the latency of the instruction. */

#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
enum { WIDTH = 64 };
#define WIDE __attribute__((min_vector_width(512))) /* else clang halves them */
#elif defined(__AVX__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif
#ifndef WIDE
#define WIDE
#endif
enum { SUMS = 12, TIMES = 4000000, TRIES = 20 };
typedef float vector __attribute__((vector_size(WIDTH)));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

WIDE int main(int argc, char **argv) {
  (void)argv;
  const vector factor = (vector){0} + 0.5f * (float)argc, addend = (vector){0} + (float)argc;
  double best = 0;
  float kept = 0;
  for (int attempt = 0; attempt < TRIES; ++attempt) {
    vector sums[SUMS] = {{0}};
    const double start = now();
    for (int time = 0; time < TIMES; ++time) {
#pragma clang loop unroll(full)
      for (int i = 0; i < SUMS; ++i) sums[i] = sums[i] * factor + addend;
    }
    const double rate = 2.0 * SUMS * WIDTH / sizeof(float) * TIMES / (now() - start) / 1e9;
    best = rate > best ? rate : best;
    for (int i = 0; i < SUMS; ++i) kept += sums[i][0];
  }
  printf("%.1f\n", best);
  return kept == 0;
}
