/* What the files of one library share among themselves: the programs that generated code describes,
 * the frame their steps run in, and the services of the C runtime. Nothing here is exported.
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
  unsigned char *fixed; /* activations that do not grow with the batch; behind them workspace */
  const unsigned char *weights;
  const void *const *inputs;
  void *const *outputs;
  size_t batch;
  /* What training keeps from call to call, plain row-major, one buffer an entry of the program's
   * table: 64-byte aligned, and zero from its last element to the next multiple of 64 bytes. */
  void *const *state;
  /* For a part of a batch: the arena of the whole batch, which has what later steps read; the size of the
   * whole batch; and the image that the part begins with. Otherwise arena, batch and 0. */
  unsigned char *kept;
  size_t kept_batch;
  size_t first_image;
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
  GRAFT_IN_OUTPUT,
  GRAFT_IN_STATE /* offset is the index into the frame's state */
} graft_region;

/* How a named value lies in memory: [N, C / block, H + 2 border, W + 2 border, block], or plain
 * row-major where block is 1 and the borders are 0. */
typedef struct graft_place {
  graft_region region;
  uint32_t channel_block, border_height, border_width;
  uint64_t offset;
} graft_place;

/* All that generated code says of one network to run: the model, a training step, an evaluation. */
typedef struct graft_program {
  const graft_description *description;
  const graft_step *steps;
  const graft_place *places; /* one for each named value */
  /* Larger batches go through the first steps_in_parts steps in parts of at most so many images, each a row
   * of every input and output, and then through the others together; 0: all together. */
  uint64_t images_at_once;
  uint32_t steps_in_parts;
  /* Null and 0 unless the program trains: */
  const struct graft_state *states; /* see graft_train.h; the same table for both programs */
  uint32_t state_count;
  /* Where the optimizer's update begins: a micro-batch that others follow stops before it.
   * step_count in an evaluation. */
  uint32_t update_first_step;
  /* Bytes of the payload of train.bin that steps read. Behind them stands only the state's first
   * contents, which a session copies and gives back. */
  uint64_t constant_bytes;
} graft_program;

/* libtrain.so has these; libmodel.so has graft_program_of_model_1 and so on, one for each set of input
 * shapes. */
extern const graft_program graft_program_of_training;
extern const graft_program graft_program_of_evaluation;
extern const struct graft_training_description graft_description_of_training;

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
/* Gives back all pages; they read as zeros when they are next used. */
void graft_give_back(graft_memory *memory);
/* Gives back the pages behind the first `bytes`, which must be no more than there are. */
void graft_shrink(graft_memory *memory, uint64_t bytes);
/* Reads exactly `bytes` at `offset`; false with errno set, or errno 0 where the file ends early. */
bool graft_read_fully(int file, void *to, uint64_t bytes, uint64_t offset);
/* The payload of `file_name` in the bundle that the options name, or of the packed bytes that they
 * give; its header must be of the build that `description` is of. */
graft_status graft_load_weights(
    graft_memory *weights, const graft_options *options, const char *file_name,
    const graft_description *description, char *message, size_t message_bytes);

/* graft_threads.c: one parallel region at a time, its threads meeting at barriers. */
typedef struct graft_pool graft_pool;
typedef void graft_region_task(void *argument, uint32_t thread);

graft_pool *graft_pool_create(uint32_t threads);
/* Runs task on every thread, the caller's being number 0. False: a thread could not be started. */
bool graft_pool_run(graft_pool *pool, graft_region_task *task, void *argument);
void graft_pool_barrier(graft_pool *pool);
/* How many waits at barriers outlasted spinning since this was asked last. */
uint32_t graft_pool_long_waits(graft_pool *pool);
/* True in a child of fork(), where the pool's threads do not exist. */
bool graft_pool_is_orphaned(const graft_pool *pool);
void graft_pool_destroy(graft_pool *pool);

/* graft_pace.c: whether a session's threads run at the same time, learnt from its calls. */
typedef struct graft_pace {
  const graft_program *program; /* with the next three: the kind of call that times are of */
  uint64_t batch;
  uint32_t first_step, end_step;
  uint64_t together, alone; /* nanoseconds of the last call on all threads and on one; 0: none yet */
  uint32_t rest;            /* calls before the other way may be tried */
  uint32_t patience;
  bool is_slow;  /* the last call on all threads waited long */
  bool is_alone; /* one thread is the quicker way */
} graft_pace;

/* Whether the caller's thread is to make this call alone. */
bool graft_pace_is_alone(graft_pace *pace, const graft_program *program, const graft_call *call);
/* What such a call took. */
void graft_pace_learn(graft_pace *pace, bool was_alone, uint64_t nanoseconds, uint32_t long_waits);

/* graft_engine.c: what sessions of every kind are made of: weights, an arena, and threads to run a
 * program's steps on. */
typedef struct graft_engine {
  atomic_flag busy;
  uint32_t threads;
  uint64_t largest_batch;
  graft_memory weights;
  graft_memory arena; /* values that grow with the batch, then fixed ones, then threads' scratch */
  graft_pool *pool;   /* NULL where the caller brings a parallel-for */
  graft_pace pace;    /* of the pool's threads */
  graft_parallel_for *parallel_for;
  void *parallel_context;
  void **part_buffers; /* where a part's images lie in the caller's buffers; NULL until there is one */
  uint64_t *step_nanoseconds; /* NULL until someone asked for times */
  uint32_t steps_timed;
} graft_engine;

/* Checks options and CPU, loads the weights and makes threads; the arena stays empty. After a
 * failure too the engine is to be closed. */
graft_status graft_engine_open(
    graft_engine *engine, const graft_options *options, const char *file_name,
    const graft_description *description, char *message, size_t message_bytes);
void graft_engine_close(graft_engine *engine);
/* Begins a call on a session; GRAFT_BUSY where another one is under way. */
graft_status graft_engine_enter(graft_engine *engine, char *message, size_t message_bytes);
void graft_engine_leave(graft_engine *engine);

graft_status graft_check_batch(
    const graft_program *program, uint64_t batch, char *message, size_t message_bytes);
/* Makes the arena one of `bytes`, for batches up to `batch`. */
graft_status graft_engine_make_room(
    graft_engine *engine, uint64_t bytes, uint64_t batch, char *message, size_t message_bytes);

/* Bytes of the tensor; UINT64_MAX where they cannot be counted. */
uint64_t graft_tensor_bytes(const graft_tensor *tensor, uint64_t batch);
/* Whether a caller's buffer has the size of the tensor. */
graft_status graft_check_buffer(
    const char *kind, const graft_tensor *tensor, const void *data, uint64_t bytes,
    uint64_t batch, char *message, size_t message_bytes);

/* Bytes of one element, and an extent of a tensor at a batch. */
size_t graft_element_bytes(graft_dtype dtype);
uint64_t graft_extent_at(const graft_tensor *tensor, uint32_t axis, uint64_t batch);

/* graft_run.c: bytes of arena that the program needs for a batch; false where they cannot be counted. */
bool graft_arena_bytes(
    const graft_program *program, uint64_t batch, uint32_t threads, uint64_t *bytes);
/* Checks the call against the program and runs it. A call that is refused has run nothing. */
typedef struct graft_engine_call {
  const graft_program *program;
  const graft_call *call;
  void *const *state; /* the frame's */
  bool is_timed;      /* whether step times are those of this call, if someone asked for them */
} graft_engine_call;

graft_status graft_engine_run(
    graft_engine *engine, const graft_engine_call *call, char *message, size_t message_bytes);

/* step_times of graft.h, for programs of at most `step_count` steps. */
uint32_t graft_engine_step_times(
    graft_engine *engine, uint32_t step_count, uint64_t *nanoseconds, uint32_t capacity);

/* graft_session.c: the functions of graft.h for a program of libmodel.so. */
uint64_t graft_session_bytes(const graft_program *program, uint64_t batch, uint32_t threads);
graft_status graft_session_create(
    const graft_program *program, const graft_options *options, graft_session **session,
    char *message, size_t message_bytes);
graft_status graft_session_reserve(
    graft_session *session, uint64_t batch, char *message, size_t message_bytes);
graft_status graft_session_run(
    graft_session *session, const graft_call *call, char *message, size_t message_bytes);
uint32_t graft_session_step_times(
    graft_session *session, uint64_t *nanoseconds, uint32_t capacity);
void graft_session_destroy(graft_session *session);

/* programs.c, which is generated: the table of a program of libmodel.so, NULL past the last. */
const graft_model_api *graft_model_program(uint32_t index);

/* Defines such a table, with the functions that know no session. */
#define GRAFT_MODEL_TABLE(table, of_program)                                               \
  static const graft_description *table##_describe(void) { return (of_program).description; } \
  static uint64_t table##_arena_bytes(uint64_t batch, uint32_t threads) {                  \
    return graft_session_bytes(&(of_program), batch, threads);                             \
  }                                                                                        \
  static graft_status table##_create(                                                      \
      const graft_options *options, graft_session **session, char *message,                \
      size_t message_bytes) {                                                              \
    return graft_session_create(&(of_program), options, session, message, message_bytes);  \
  }                                                                                        \
  static const graft_model_api table = {                                                   \
      GRAFT_ABI_VERSION,        sizeof(graft_model_api), table##_describe,                 \
      table##_arena_bytes,      table##_create,          graft_session_reserve,            \
      graft_session_run,        graft_session_step_times, graft_session_destroy,           \
      graft_model_program,                                                                 \
  };

/* Writes one formatted sentence where there is room for it; returns status. */
graft_status graft_fail(
    graft_status status, char *message, size_t message_bytes, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
