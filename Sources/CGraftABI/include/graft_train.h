/* The binary interface of a bundle that trains: what libtrain.so offers beside graft.h.
 *
 * The library exports one symbol, graft_training(), which returns a table of functions. A session
 * holds the state of one training run: weights, BatchNorm statistics, the optimizer's slots, and
 * gradients under accumulation. A step reads values at the cut of the network (where the frozen
 * part ends; the network's own inputs where nothing is frozen) with targets, and updates the state
 * in place. Evaluation reads the same state and leaves it.
 *
 * The rules of graft.h hold: plain row-major tensors, one caller at a time, a table that grows only
 * at its end. The same seed and calls give the same bits with any number of threads.
 */
#ifndef GRAFT_TRAIN_H
#define GRAFT_TRAIN_H

#include "graft.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GRAFT_TRAINING_ABI_VERSION 1u

typedef enum graft_state_role {
  GRAFT_STATE_WEIGHT = 1,     /* what the optimizer updates */
  GRAFT_STATE_STATISTIC = 2,  /* a running mean or variance */
  GRAFT_STATE_OPTIMIZER = 3,  /* momentum, first or second moment of a weight's gradient */
  GRAFT_STATE_ACCUMULATOR = 4 /* a gradient summed over micro-batches */
} graft_state_role;

#define GRAFT_NO_GROUP UINT32_MAX
#define GRAFT_ZEROS UINT64_MAX

/* One tensor of the state. Its extents do not grow with the batch. */
typedef struct graft_state {
  graft_tensor tensor;
  graft_state_role role;
  uint32_t group;          /* of a weight: index into group_names; else GRAFT_NO_GROUP */
  uint64_t initial_offset; /* its first contents in train.bin, behind the header; or GRAFT_ZEROS */
} graft_state;

#define GRAFT_TAKES_TEACHER_TARGETS 1u
#define GRAFT_TAKES_IMAGE_WEIGHTS 2u
#define GRAFT_TAKES_SETTINGS 4u /* the library's own input "settings" is there */
#define GRAFT_TAKES_RANDOM 8u   /* the library's own input "random" is there: dropout is active */

/* What the library trains. All pointers stay valid while it is loaded. */
typedef struct graft_training_description {
  uint32_t abi_version;
  uint32_t flags; /* GRAFT_TAKES_... */
  /* Inputs of a step: the values at the cut; targets [N, C]; teacher_targets [N, C] and weights [N]
   * where flags say so; then what the library writes itself: hyperparameters [G, 8], settings [8]
   * and random [4]. Outputs: loss [N] and logits [N, C]. */
  const graft_description *step;
  /* Inputs: the values at the cut. Output: logits. */
  const graft_description *evaluation;
  uint32_t step_input_count; /* how many of the step's inputs the caller gives: all but the last */
  uint32_t state_count;
  const graft_state *states;
  uint32_t group_count;
  uint32_t reserved;
  const char *const *group_names; /* groups of weights that share hyperparameters */
  uint64_t class_count;           /* C: elements of an image's targets and logits */
} graft_training_description;

typedef struct graft_training_session graft_training_session;

/* What steers the update of one group of weights. What its optimizer has no use for is ignored. */
typedef struct graft_hyperparameters {
  float learning_rate; /* finite, at least 0; so is every number here */
  float momentum;
  float weight_decay;
  float beta1; /* below 1, of Adam: Kingma and Ba 2015 */
  float beta2; /* below 1 */
  float epsilon;
} graft_hyperparameters;

#define GRAFT_STEP_CONTINUES 1u /* adds to the gradients of the micro-batches before it */
#define GRAFT_STEP_GOES_ON 2u   /* other micro-batches follow: no update yet */

typedef struct graft_training_step {
  uint32_t struct_bytes; /* sizeof(graft_training_step) */
  uint32_t flags;        /* 0, or GRAFT_STEP_... where gradients of several calls add up */
  uint64_t batch;        /* N, 1 ... the largest batch; the last of an epoch may well be smaller */
  const void *const *inputs; /* step_input_count of them, in the order of the description */
  const uint64_t *input_bytes;
  const graft_hyperparameters *hyperparameters; /* one a group */
  uint32_t hyperparameter_count;                /* the description's group_count */
  float clip_norm;   /* largest Euclidean norm of all gradients together; 0: no limit */
  float temperature; /* of distillation (Hinton et al. 2015); 0 is taken as 1 */
  uint32_t tap_count;
  const graft_tap *taps; /* values of the step to copy out, as in graft_call */
  /* Any of these may be NULL. */
  float *loss; /* [N]; their sum is the loss of the batch, 1 / N being folded into targets */
  uint64_t loss_bytes;
  float *logits; /* [N, C], before the update */
  uint64_t logits_bytes;
} graft_training_step;

/* How far a session has come. */
typedef struct graft_training_progress {
  uint32_t struct_bytes;       /* sizeof(graft_training_progress), set by the caller */
  uint32_t open_micro_batches; /* calls whose gradients wait for an update */
  uint64_t updates;            /* of the weights, since they were new */
  uint64_t steps;              /* calls of step: updates and micro-batches */
  uint64_t seed;
} graft_training_progress;

typedef struct graft_training_api {
  uint32_t abi_version;
  uint32_t table_bytes;
  const graft_training_description *(*describe)(void);
  /* Bytes of activations, scratch and state of a session; 0 where that does not fit in 64 bits. */
  uint64_t (*session_bytes)(uint64_t batch, uint32_t threads);
  /* The options are those of graft.h, the file is train.bin. `seed` decides orders and dropout. */
  graft_status (*create)(
      const graft_options *options, uint64_t seed, graft_training_session **session,
      char *message, size_t message_bytes);
  /* Writes 0 ... count - 1 in an order that depends on seed, epoch and count alone: Fisher and
   * Yates' shuffle on Philox4x32-10 (Salmon et al. 2011), without bias. */
  graft_status (*epoch_order)(
      graft_training_session *session, uint64_t epoch, uint32_t count, uint32_t *order,
      char *message, size_t message_bytes);
  graft_status (*step)(
      graft_training_session *session, const graft_training_step *step, char *message,
      size_t message_bytes);
  /* Runs the network as it stands. Ranges of steps and taps work as in graft.h. */
  graft_status (*evaluate)(
      graft_training_session *session, const graft_call *call, char *message,
      size_t message_bytes);
  /* Writes all state, the seed and the counters into one safetensors file, which appears whole or
   * not at all; what stood at `path` is replaced. `note` is UTF-8 text of the caller's, at most
   * 1 MiB, or NULL. */
  graft_status (*save)(
      graft_training_session *session, const char *path, const char *note, char *message,
      size_t message_bytes);
  /* Takes up what save wrote, and goes on from there bit for bit. A file that does not fit is
   * refused, GRAFT_BAD_STATE, and changes nothing. The note, cut off where it is longer than the
   * buffer, goes to `note` unless that is NULL. */
  graft_status (*load)(
      graft_training_session *session, const char *path, char *note, size_t note_bytes,
      char *message, size_t message_bytes);
  /* Copies one tensor of the state, by index, plain and in its own dtype. */
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
} graft_training_api;

/* The one exported symbol. Never fails; runs on any CPU of the architecture. */
const graft_training_api *graft_training(void);
typedef const graft_training_api *graft_training_function(void);

#ifdef __cplusplus
}
#endif
#endif
