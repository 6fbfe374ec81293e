/* The binary interface of a compiled bundle: the API of libmodel.so for C, Swift or ctypes.
 *
 * A bundle's library exports one symbol, graft_model(), which returns a table of functions. A library compiled
 * for several input shapes has a table for each; they share packed.bin and the build id.
 * All other symbols are hidden, so a process can load any number of bundles.
 * New table entries are only added at the end; check abi_version and table_bytes before use.
 *
 * Tensors cross this interface in row-major order, in the axis order of the model, with their
 * declared element type. Sizes are in elements unless a name says bytes.
 */
#ifndef GRAFT_H
#define GRAFT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRAFT_ABI_VERSION 1u
#define GRAFT_MAX_RANK 8

/* The status of a call; except for GRAFT_OK, the message buffer has a description. */
typedef enum graft_status {
  GRAFT_OK = 0,
  GRAFT_INVALID_ARGUMENT = 1, /* a null pointer, a short buffer, an index out of range */
  GRAFT_BATCH_TOO_LARGE = 2,  /* more than the session was created or reserved for */
  GRAFT_UNSUPPORTED_CPU = 3,  /* the kernels need instructions that this CPU lacks */
  GRAFT_IO_ERROR = 4,         /* packed.bin cannot be read */
  GRAFT_BAD_WEIGHTS = 5,      /* packed.bin was not built with this library */
  GRAFT_OUT_OF_MEMORY = 6,
  GRAFT_BUSY = 7,             /* another thread is in a call on this session */
  GRAFT_THREAD_ERROR = 8,     /* a thread could not be started, or the process has forked */
  GRAFT_BAD_STATE = 9         /* a training state file is damaged or of another network */
} graft_status;

typedef enum graft_dtype {
  GRAFT_FLOAT32 = 1,
  GRAFT_FLOAT16 = 2,
  GRAFT_BFLOAT16 = 3,
  GRAFT_FLOAT64 = 4,
  GRAFT_INT8 = 5,
  GRAFT_UINT8 = 6,
  GRAFT_INT32 = 7,
  GRAFT_INT64 = 8,
  GRAFT_BOOL = 9, /* one byte, 0 or 1 */
  GRAFT_INT16 = 10,
  GRAFT_UINT16 = 11,
  GRAFT_UINT32 = 12,
  GRAFT_UINT64 = 13
} graft_dtype;

/* An extent is scale * N + base, where N is the batch size of the call. Fixed extents have scale 0. */
typedef struct graft_extent {
  int64_t scale;
  int64_t base;
} graft_extent;

/* An input, output or named intermediate value. */
typedef struct graft_tensor {
  const char *name; /* UTF-8, the name in the model's file */
  graft_dtype dtype;
  uint32_t rank;
  graft_extent extents[GRAFT_MAX_RANK]; /* outermost first */
  /* The first step after which an intermediate value is available; 0 for inputs. */
  uint32_t available_after_step;
} graft_tensor;

/* The description of a library. All pointers are valid while it is loaded. */
typedef struct graft_description {
  uint32_t abi_version;
  uint32_t input_count, output_count, value_count, step_count;
  const graft_tensor *inputs;
  const graft_tensor *outputs;
  const graft_tensor *values;       /* the values that taps can copy */
  const char *const *step_names;    /* one per step, in order: operator and origins */
  const char *target;               /* e.g. "x86-64-v3" */
  const char *required_features;    /* e.g. "avx2 bmi2 f16c fma" */
  const char *compiler;             /* version line of the compiler, or "" */
  uint8_t build_id[32];             /* packed.bin contains the same bytes */
  uint64_t packed_bytes;            /* size of packed.bin, including its header */
  uint64_t arena_bytes_per_image;   /* activations per image of a batch */
  uint64_t arena_bytes_fixed;       /* activations that do not grow with the batch */
  uint64_t scratch_bytes_per_thread;
  uint32_t has_batch;               /* 0: the batch size is fixed, and N must be 1 */
  uint32_t reserved;
} graft_description;

typedef struct graft_session graft_session;

/* Runs task(argument, i) for every i below count, in any order, concurrently or sequentially, and
 * returns when all are done. Calls for a network's steps do not overlap. */
typedef void graft_parallel_for(
    void *context, void (*task)(void *argument, uint32_t index), void *argument, uint32_t count);

#define GRAFT_MAP_WEIGHTS 1u /* memory-map packed.bin: shared between processes, but slower */

typedef struct graft_options {
  uint32_t struct_bytes;      /* sizeof(graft_options), for compatible extension */
  uint32_t flags;             /* GRAFT_MAP_WEIGHTS or 0 */
  const char *bundle_path;    /* the bundle's folder, or NULL with packed and packed_bytes set */
  const void *packed;         /* the contents of packed.bin, 64-byte aligned; owned by the caller. Sessions of
                                 all programs can share them */
  uint64_t packed_bytes;
  uint64_t largest_batch;     /* at least 1 */
  uint32_t threads;           /* at least 1, including the caller's thread */
  uint32_t reserved;
  graft_parallel_for *parallel_for; /* NULL: the session's own threads */
  void *parallel_context;
} graft_options;

/* Copies the value `value` (an index into values) to `data` after its step. */
typedef struct graft_tap {
  uint32_t value;
  uint32_t reserved;
  void *data;
  uint64_t bytes;
} graft_tap;

typedef struct graft_call {
  uint32_t struct_bytes;        /* sizeof(graft_call) */
  uint32_t first_step;          /* 0, or the end_step of the previous call on the same batch */
  uint32_t end_step;            /* step_count, or less to stop early; later outputs are not written */
  uint32_t tap_count;
  uint64_t batch;               /* N, at least 1 */
  const void *const *inputs;    /* one per input */
  const uint64_t *input_bytes;
  void *const *outputs;         /* one per output */
  const uint64_t *output_bytes;
  const graft_tap *taps;
} graft_call;

typedef struct graft_model_api {
  uint32_t abi_version;
  uint32_t table_bytes;
  const graft_description *(*describe)(void);
  /* Bytes of a session for this batch size and number of threads, without weights; 0 if it
   * exceeds 64 bits. */
  uint64_t (*arena_bytes)(uint64_t batch, uint32_t threads);
  graft_status (*create)(
      const graft_options *options, graft_session **session, char *message, size_t message_bytes);
  /* Allocates memory for a larger batch size; has no effect for smaller ones. */
  graft_status (*reserve)(
      graft_session *session, uint64_t largest_batch, char *message, size_t message_bytes);
  /* Only one caller at a time; a concurrent call returns GRAFT_BUSY. */
  graft_status (*run)(
      graft_session *session, const graft_call *call, char *message, size_t message_bytes);
  /* Nanoseconds of each step of the last call on the caller's thread, including barriers.
   * The first call of this function enables timing. Returns the number of written entries. */
  uint32_t (*step_times)(graft_session *session, uint64_t *nanoseconds, uint32_t capacity);
  /* Ends the session's threads and frees it; NULL is allowed. Not during a call. */
  void (*destroy)(graft_session *session);
  /* Since Graft's format 1.8: the table of the program for the input shapes number `index`, in the order of
   * compilation, or NULL past the last. Program 0 is graft_model()'s. Every table has this function, and a
   * session belongs to the program whose table created it. */
  const struct graft_model_api *(*program)(uint32_t index);
} graft_model_api;

/* The only exported symbol. Never fails; runs on any CPU of the architecture. */
const graft_model_api *graft_model(void);
typedef const graft_model_api *graft_model_function(void);

#ifdef __cplusplus
}
#endif
#endif
