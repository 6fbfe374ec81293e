/* What the files of one bundle share among themselves: the program that model.c describes, the
 * frame its steps run in, and the services of the C runtime. Nothing here is exported.
 */
#ifndef GRAFT_RUNTIME_H
#define GRAFT_RUNTIME_H

#include "graft.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Packed weights begin with this header; the payload follows at byte GRAFT_PACKED_HEADER. */
#define GRAFT_PACKED_HEADER 64u
#define GRAFT_PACKED_VERSION 1u

/* Where a step finds its data: the base of each region, and the batch. */
typedef struct graft_frame {
  unsigned char *arena; /* activations; a value stands at its offset times batch */
  unsigned char *fixed; /* activations that do not grow with the batch */
  const unsigned char *weights;
  const void *const *inputs;
  void *const *outputs;
  size_t batch;
} graft_frame;

/* Does the work units from begin up to end. A unit owns its outputs, so units may run anywhere. */
typedef void graft_step_function(
    const graft_frame *frame, size_t begin, size_t end, void *scratch);

typedef struct graft_step {
  graft_step_function *run;
  uint64_t units_per_image;
  uint64_t units_fixed; /* units that there are whatever the batch */
} graft_step;

typedef enum graft_region {
  GRAFT_IN_ARENA,
  GRAFT_IN_FIXED,
  GRAFT_IN_WEIGHTS,
  GRAFT_IN_INPUT, /* offset is the index of the caller's buffer */
  GRAFT_IN_OUTPUT
} graft_region;

/* How a named value lies in memory: [N, C / block, H + 2 border, W + 2 border, block], or plain
 * row-major where block is 1 and the borders are 0. */
typedef struct graft_place {
  graft_region region;
  uint32_t channel_block, border_height, border_width;
  uint64_t offset;
} graft_place;

/* All that model.c says of the network. */
typedef struct graft_program {
  const graft_description *description;
  const graft_step *steps_one;  /* used at batch 1 */
  const graft_step *steps_many; /* used at batch 2 and above */
  const graft_place *places;    /* one a named value */
} graft_program;

extern const graft_program graft_program_of_model;

/* graft_cpu.c: whether the CPU has all features of the list; else which one lacks. */
bool graft_cpu_has(const char *features, char *missing, size_t missing_bytes);
/* Round to nearest, no traps, denormals flushed to zero; returns what was set before. */
uint64_t graft_set_float_mode(void);
void graft_restore_float_mode(uint64_t saved);

/* graft_memory.c */
typedef struct graft_memory {
  unsigned char *data; /* 64-byte aligned; on huge pages where it is large enough for them */
  size_t bytes;
  void *mapping; /* what munmap gets; NULL where the memory is the caller's */
  size_t mapping_bytes;
} graft_memory;

bool graft_allocate(graft_memory *memory, uint64_t bytes);
void graft_release(graft_memory *memory);
graft_status graft_load_weights(
    graft_memory *weights, const graft_options *options, char *message, size_t message_bytes);

/* graft_threads.c: one parallel region at a time, its threads meeting at barriers. */
typedef struct graft_pool graft_pool;
typedef void graft_region_task(void *argument, uint32_t thread);

graft_pool *graft_pool_create(uint32_t threads);
/* Runs task on every thread, the caller's being number 0. False: a thread could not be started. */
bool graft_pool_run(graft_pool *pool, graft_region_task *task, void *argument);
void graft_pool_barrier(graft_pool *pool);
/* True in a child of fork(), where the pool's threads do not exist. */
bool graft_pool_is_orphaned(const graft_pool *pool);
void graft_pool_destroy(graft_pool *pool);

/* Writes one formatted sentence where there is room for it; returns status. */
graft_status graft_fail(
    graft_status status, char *message, size_t message_bytes, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
