/* The binary interface of a bundle with a training step: the API of libtrain.so, which uses graft.h.
 *
 * The library exports one symbol, graft_training(), which returns a table of functions. A session
 * has the state of one training run: weights, BatchNorm statistics, optimizer state, and
 * accumulated gradients. A step takes the values at the freeze line (the network's inputs if
 * nothing is frozen) and targets, and updates the state in place. Evaluation reads the same state
 * without changing it.
 *
 * As in graft.h, tensors are row-major, only one caller is allowed at a time, and new table entries
 * are only added at the end. The same seed and calls give the same bits on any number of threads.
 */
#ifndef GRAFT_TRAIN_H
#define GRAFT_TRAIN_H

#include "graft.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GRAFT_TRAINING_ABI_VERSION 1u

typedef enum graft_state_role {
  GRAFT_STATE_WEIGHT = 1,     /* updated by the optimizer */
  GRAFT_STATE_STATISTIC = 2,  /* a running mean or variance */
  GRAFT_STATE_OPTIMIZER = 3,  /* momentum, first or second moment of a weight's gradient */
  GRAFT_STATE_ACCUMULATOR = 4 /* a gradient summed over micro-batches */
} graft_state_role;

#define GRAFT_NO_GROUP UINT32_MAX
#define GRAFT_ZEROS UINT64_MAX

/* A state tensor. Its extents do not depend on the batch. */
typedef struct graft_state {
  graft_tensor tensor;
  graft_state_role role;
  uint32_t group;          /* for a weight, index into group_names; else GRAFT_NO_GROUP */
  uint64_t initial_offset; /* offset of its initial value in train.bin after the header, or GRAFT_ZEROS */
} graft_state;

#define GRAFT_TAKES_TEACHER_TARGETS 1u
#define GRAFT_TAKES_IMAGE_WEIGHTS 2u
#define GRAFT_TAKES_SETTINGS 4u /* the step has the internal input "settings" */
#define GRAFT_TAKES_RANDOM 8u   /* the step has the internal input "random": dropout is active */

/* The description of a training library. All pointers are valid while it is loaded. */
typedef struct graft_training_description {
  uint32_t abi_version;
  uint32_t flags; /* GRAFT_TAKES_... */
  /* Inputs of a step: the values at the freeze line; targets [N, C]; teacher_targets [N, C] and
   * weights [N] according to flags; then internal inputs: hyperparameters [G, 8], settings [8] and
   * random [4]. Outputs: loss [N] and logits [N, C]. */
  const graft_description *step;
  /* Inputs: the values at the freeze line. Output: logits. */
  const graft_description *evaluation;
  uint32_t step_input_count; /* the number of step inputs from the caller: all but the internal ones */
  uint32_t state_count;
  const graft_state *states;
  uint32_t group_count;
  uint32_t reserved;
  const char *const *group_names; /* names of the parameter groups */
  uint64_t class_count;           /* C: the number of targets and logits per image */
} graft_training_description;

typedef struct graft_training_session graft_training_session;

/* The hyperparameters of one parameter group. Those that the optimizer does not use are ignored. */
typedef struct graft_hyperparameters {
  float learning_rate; /* finite and at least 0, like all fields */
  float momentum;
  float weight_decay;
  float beta1; /* below 1; Adam (Kingma and Ba 2015) */
  float beta2; /* below 1 */
  float epsilon;
} graft_hyperparameters;

#define GRAFT_STEP_CONTINUES 1u /* accumulate onto the gradients of previous micro-batches */
#define GRAFT_STEP_GOES_ON 2u   /* other micro-batches follow: do not update yet */

typedef struct graft_training_step {
  uint32_t struct_bytes; /* sizeof(graft_training_step) */
  uint32_t flags;        /* 0, or GRAFT_STEP_... to accumulate gradients over several calls */
  uint64_t batch;        /* N, from 1 to the largest batch */
  const void *const *inputs; /* step_input_count of them, in the order of the description */
  const uint64_t *input_bytes;
  const graft_hyperparameters *hyperparameters; /* one per group */
  uint32_t hyperparameter_count;                /* the description's group_count */
  float clip_norm;   /* maximum Euclidean norm of all gradients together; 0 for no limit */
  float temperature; /* of distillation (Hinton et al. 2015); 0 means 1 */
  uint32_t tap_count;
  const graft_tap *taps; /* values of the step to copy, as in graft_call */
  /* Any of these may be NULL. */
  float *loss; /* [N]; the sum is the mean loss of the batch if targets include 1 / N */
  uint64_t loss_bytes;
  float *logits; /* [N, C], before the update */
  uint64_t logits_bytes;
} graft_training_step;

/* The progress of a session. */
typedef struct graft_training_progress {
  uint32_t struct_bytes;       /* sizeof(graft_training_progress), set by the caller */
  uint32_t open_micro_batches; /* micro-batches since the last update */
  uint64_t updates;            /* weight updates so far */
  uint64_t steps;              /* calls of step so far, including micro-batches */
  uint64_t seed;
} graft_training_progress;

typedef struct graft_training_api {
  uint32_t abi_version;
  uint32_t table_bytes;
  const graft_training_description *(*describe)(void);
  /* Bytes of activations, scratch and state of a session; 0 if it exceeds 64 bits. */
  uint64_t (*session_bytes)(uint64_t batch, uint32_t threads);
  /* Options as in graft.h; the file is train.bin. `seed` is the seed of shuffling and dropout. */
  graft_status (*create)(
      const graft_options *options, uint64_t seed, graft_training_session **session,
      char *message, size_t message_bytes);
  /* Writes a permutation of 0 ... count - 1 that depends only on seed, epoch and count: an unbiased
   * Fisher-Yates shuffle with Philox4x32-10 (Salmon et al. 2011). */
  graft_status (*epoch_order)(
      graft_training_session *session, uint64_t epoch, uint32_t count, uint32_t *order,
      char *message, size_t message_bytes);
  graft_status (*step)(
      graft_training_session *session, const graft_training_step *step, char *message,
      size_t message_bytes);
  /* Evaluates the network with the current state. Step ranges and taps work as in graft.h. */
  graft_status (*evaluate)(
      graft_training_session *session, const graft_call *call, char *message,
      size_t message_bytes);
  /* Atomically writes all state, the seed and the counters to one safetensors file; an existing
   * file is replaced. `note` is UTF-8 text from the caller, at most 1 MiB, or NULL. */
  graft_status (*save)(
      graft_training_session *session, const char *path, const char *note, char *message,
      size_t message_bytes);
  /* Loads a file of save; training continues bit for bit. For an unsuitable file it returns
   * GRAFT_BAD_STATE and changes nothing. The note is copied to `note`, truncated to the buffer,
   * unless that is NULL. */
  graft_status (*load)(
      graft_training_session *session, const char *path, char *note, size_t note_bytes,
      char *message, size_t message_bytes);
  /* Copies a state tensor, by index, row-major in its dtype. */
  graft_status (*read_state)(
      graft_training_session *session, uint32_t index, void *data, uint64_t bytes,
      char *message, size_t message_bytes);
  graft_status (*write_state)(
      graft_training_session *session, uint32_t index, const void *data, uint64_t bytes,
      char *message, size_t message_bytes);
  graft_status (*progress)(
      graft_training_session *session, graft_training_progress *progress, char *message,
      size_t message_bytes);
  /* As in graft.h, of the last training step. */
  uint32_t (*step_times)(
      graft_training_session *session, uint64_t *nanoseconds, uint32_t capacity);
  void (*destroy)(graft_training_session *session);
  /* Gives the memory of activations back to the system until the next step or evaluation. A library whose
   * table_bytes end before it has no such function. */
  graft_status (*trim)(
      graft_training_session *session, char *message, size_t message_bytes);
} graft_training_api;

/* The only exported symbol. Never fails; runs on any CPU of the architecture. */
const graft_training_api *graft_training(void);
typedef const graft_training_api *graft_training_function(void);

#ifdef __cplusplus
}
#endif
#endif
