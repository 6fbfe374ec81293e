/* What the files of libtrain.so share: the state of one run of training, the file that holds it,
 * and the orders of epochs. Nothing here is exported.
 */
#ifndef GRAFT_TRAINING_H
#define GRAFT_TRAINING_H

#include "graft_runtime.h"
#include "graft_train.h"
#include "graft_train_interface.h"

#define GRAFT_NOTE_BYTES (1u << 20) /* the longest note of a caller's */

/* Everything that the next step depends on, beside its inputs. */
typedef struct graft_training_state {
  graft_memory memory;
  void **buffers; /* one an entry of the description's states, in memory; zero-tailed */
  uint64_t seed;
  uint64_t updates;
  uint64_t steps;
  uint32_t open_micro_batches;
} graft_training_state;

struct graft_training_session {
  graft_engine engine;
  graft_training_state state;
  graft_memory own; /* the step's own inputs, and outputs that a caller does not want */
  float *hyperparameters, *settings, *loss, *logits;
  int32_t *random;
  const void **inputs; /* all of the step: the caller's, then its own */
  uint64_t *input_bytes;
};

/* graft_train_memory.c: the arena, which serves both programs, one at a time; false where its bytes cannot be
 * counted. */
bool graft_training_arena_bytes(uint64_t batch, uint32_t threads, uint64_t *bytes);
/* All memory of a session; 0 where it cannot be counted. */
uint64_t graft_training_session_bytes(uint64_t batch, uint32_t threads);
/* The buffers of the session itself; what was allocated before a failure is the session's to release. */
bool graft_allocate_own(graft_training_session *session, uint64_t batch);
/* Zeroed buffers for the description's states. */
bool graft_allocate_state(
    graft_training_state *state, const graft_training_description *description);
void graft_release_state(graft_training_state *state);

/* graft_train_step.c: one call of step in graft_train.h, on a session that is entered. */
graft_status graft_run_training_step(
    graft_training_session *session, const graft_training_step *step, char *message,
    size_t message_bytes);

/* The file of a state. Its metadata: the format's version, the counters, a sum, a caller's note. */
#define GRAFT_STATE_FORMAT "1"
#define GRAFT_FORMAT_KEY "graft.training_state"
#define GRAFT_NOTE_KEY "graft.note"
#define GRAFT_SUM_KEY "graft.fletcher64"
#define GRAFT_LARGEST_HEADER 100000000u /* as in the safetensors library */

enum { GRAFT_SEED, GRAFT_UPDATES, GRAFT_STEPS, GRAFT_MICRO_BATCHES, GRAFT_COUNTERS };
extern const char *const graft_counter_keys[GRAFT_COUNTERS];

/* The name of an element type in safetensors. */
const char *graft_dtype_name(graft_dtype dtype);
/* Two sums modulo 2^32 - 1 over little-endian words of 32 bits (Fletcher 1982), each tensor filled
 * up to whole words with zeros, which the buffers' tails are. */
uint64_t graft_state_sum(
    const graft_training_state *state, const graft_training_description *description);

/* graft_state_writer.c and graft_state_reader.c: see save and load of graft_train.h. */
graft_status graft_save_state(
    const graft_training_state *state, const graft_training_description *description,
    const char *path, const char *note, char *message, size_t message_bytes);
/* Fills `state`, which graft_allocate_state made; it is of no use after a failure. */
graft_status graft_load_state(
    graft_training_state *state, const graft_training_description *description,
    const char *path, char *note, size_t note_bytes, char *message, size_t message_bytes);

/* graft_json.c. Each function skips spaces first and answers whether it went well; if not,
 * `problem` says why, except that graft_json_take may fail without one. */
typedef struct graft_json {
  char *at, *end;
  const char *problem; /* NULL so far */
} graft_json;

void graft_json_skip_spaces(graft_json *json);
bool graft_json_refuse(graft_json *json, const char *problem);
/* Goes past the character if it is there. */
bool graft_json_take(graft_json *json, char expected);
bool graft_json_expect(graft_json *json, char expected);
/* A string, ending in zero, which stays valid as long as the text: it is never longer unescaped. */
bool graft_json_string(graft_json *json, char **string);
bool graft_json_number(graft_json *json, uint64_t *number);
/* Digits up to `end`, without sign or leading zeros, below 2^64; skips nothing before them. */
bool graft_json_digits(const char **at, const char *end, uint64_t *number);

/* graft_shuffle.c */
/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
void graft_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]);
/* Writes 0 ... count - 1 in an order that depends on the numbers given alone. */
void graft_shuffle(uint64_t seed, uint64_t epoch, uint32_t count, uint32_t *order);

#endif
