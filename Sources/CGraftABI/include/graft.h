/* The binary interface of a compiled bundle: what libmodel.so offers to C, Swift or ctypes.
 *
 * A bundle's library exports one symbol, graft_model(), which returns a table of functions.
 * Everything else in it is hidden, so any number of bundles live side by side in one process.
 * The table grows only at its end; check abi_version and table_bytes before use.
 *
 * Tensors cross this interface in plain row-major order, in the model's own axis order, of the
 * element type that the tensor says. Sizes are in elements unless a name says bytes.
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

/* What a call answers; anything but GRAFT_OK leaves a sentence in the message buffer. */
typedef enum graft_status {
  GRAFT_OK = 0,
  GRAFT_INVALID_ARGUMENT = 1, /* a null pointer, a short buffer, an index out of range */
  GRAFT_BATCH_TOO_LARGE = 2,  /* more than the session was created or reserved for */
  GRAFT_UNSUPPORTED_CPU = 3,  /* the kernels need instructions that this CPU lacks */
  GRAFT_IO_ERROR = 4,         /* packed.bin cannot be read */
  GRAFT_BAD_WEIGHTS = 5,      /* packed.bin is not the one built with this library */
  GRAFT_OUT_OF_MEMORY = 6,
  GRAFT_BUSY = 7,             /* another thread is inside a call on this session */
  GRAFT_THREAD_ERROR = 8,     /* a thread could not be started, or the process has forked */
  GRAFT_BAD_STATE = 9         /* a file of training state is damaged or another network's */
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
  GRAFT_BOOL = 9, /* a byte, 0 or 1 */
  GRAFT_INT16 = 10,
  GRAFT_UINT16 = 11,
  GRAFT_UINT32 = 12,
  GRAFT_UINT64 = 13
} graft_dtype;

/* An extent is scale * N + base, N being the batch of the call. Ordinary extents have scale 0. */
typedef struct graft_extent {
  int64_t scale;
  int64_t base;
} graft_extent;

/* One input, output or named inner value. */
typedef struct graft_tensor {
  const char *name; /* UTF-8, as the model's file has it */
  graft_dtype dtype;
  uint32_t rank;
  graft_extent extents[GRAFT_MAX_RANK]; /* outermost first */
  /* The first step after which an inner value stands in the arena; 0 for inputs. */
  uint32_t available_after_step;
} graft_tensor;

/* What the library was built from and for. All pointers stay valid while it is loaded. */
typedef struct graft_description {
  uint32_t abi_version;
  uint32_t input_count, output_count, value_count, step_count;
  const graft_tensor *inputs;
  const graft_tensor *outputs;
  const graft_tensor *values;       /* what taps may name, by index */
  const char *const *step_names;    /* one a step, in order: operator and the names it came from */
  const char *target;               /* e.g. "x86-64-v3" */
  const char *required_features;    /* e.g. "avx2 bmi2 f16c fma" */
  const char *compiler;             /* version line of the compiler, or "" */
  uint8_t build_id[32];             /* the same bytes stand in packed.bin */
  uint64_t packed_bytes;            /* size of packed.bin, its header included */
  uint64_t arena_bytes_per_image;   /* activations, for each image of a batch */
  uint64_t arena_bytes_fixed;       /* activations that do not grow with the batch */
  uint64_t scratch_bytes_per_thread;
  uint32_t has_batch;               /* 0: the model fixes its batch, and only batch 1 is legal */
  uint32_t reserved;
} graft_description;

typedef struct graft_session graft_session;

/* Runs task(argument, i) for every i below count, in any order, at once or one after another, and
 * returns when all are done. Calls for a network's steps come one after another. */
typedef void graft_parallel_for(
    void *context, void (*task)(void *argument, uint32_t index), void *argument, uint32_t count);

#define GRAFT_MAP_WEIGHTS 1u /* use packed.bin mapped from the file: shared, but slower to run */

typedef struct graft_options {
  uint32_t struct_bytes;      /* sizeof(graft_options), so that it may grow */
  uint32_t flags;             /* GRAFT_MAP_WEIGHTS or 0 */
  const char *bundle_path;    /* the bundle's folder, or NULL with packed and packed_bytes set */
  const void *packed;         /* the contents of packed.bin, 64-byte aligned; kept by the caller */
  uint64_t packed_bytes;
  uint64_t largest_batch;     /* at least 1 */
  uint32_t threads;           /* at least 1; the caller's own thread is one of them */
  uint32_t reserved;
  graft_parallel_for *parallel_for; /* NULL: the session's own threads */
  void *parallel_context;
} graft_options;

/* Copies inner value `value` (an index into values) to `data` when its step has run. */
typedef struct graft_tap {
  uint32_t value;
  uint32_t reserved;
  void *data;
  uint64_t bytes;
} graft_tap;

typedef struct graft_call {
  uint32_t struct_bytes;        /* sizeof(graft_call) */
  uint32_t first_step;          /* 0, or where an earlier call on the same batch stopped */
  uint32_t end_step;            /* step_count, or less to stop early: outputs made later stay */
  uint32_t tap_count;
  uint64_t batch;               /* N, at least 1 */
  const void *const *inputs;    /* one a declared input */
  const uint64_t *input_bytes;
  void *const *outputs;         /* one a declared output */
  const uint64_t *output_bytes;
  const graft_tap *taps;
} graft_call;

typedef struct graft_model_api {
  uint32_t abi_version;
  uint32_t table_bytes;
  const graft_description *(*describe)(void);
  /* Bytes that a session for this batch and number of threads keeps beside its weights; 0 where
   * that does not fit in 64 bits. */
  uint64_t (*arena_bytes)(uint64_t batch, uint32_t threads);
  graft_status (*create)(
      const graft_options *options, graft_session **session, char *message, size_t message_bytes);
  /* Makes room for a larger batch; smaller ones change nothing. */
  graft_status (*reserve)(
      graft_session *session, uint64_t largest_batch, char *message, size_t message_bytes);
  /* One caller at a time: a second one meanwhile gets GRAFT_BUSY. */
  graft_status (*run)(
      graft_session *session, const graft_call *call, char *message, size_t message_bytes);
  /* Nanoseconds that each step of the last call took on the caller's thread, barrier included.
   * Timing starts with the first call of this function. Returns how many were written. */
  uint32_t (*step_times)(graft_session *session, uint64_t *nanoseconds, uint32_t capacity);
  /* Ends the session's threads and frees it; NULL is legal. Not while a call is under way. */
  void (*destroy)(graft_session *session);
} graft_model_api;

/* The one exported symbol. Never fails; runs on any CPU of the architecture. */
const graft_model_api *graft_model(void);
typedef const graft_model_api *graft_model_function(void);

#ifdef __cplusplus
}
#endif
#endif
