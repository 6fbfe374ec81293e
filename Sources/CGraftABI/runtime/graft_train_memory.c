/* The memory of a training session: the arena of its programs, the buffers of its state, and those that hold the
 * step's own inputs and outputs.
 */
#include "graft_training.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

static uint64_t state_bytes(const graft_state *state) {
  return graft_tensor_bytes(&state->tensor, 1);
}

/* Adds `bytes`, rounded up to whole lines of the cache. */
static bool add_lines(uint64_t *total, uint64_t bytes) {
  return bytes <= UINT64_MAX - (LINE - 1) &&
         !__builtin_add_overflow(*total, (bytes + LINE - 1) / LINE * LINE, total);
}

static bool all_state_bytes(const graft_training_description *description, uint64_t *total) {
  *total = 0;
  for (uint32_t i = 0; i < description->state_count; i++) {
    if (!add_lines(total, state_bytes(&description->states[i]))) return false;
  }
  return true;
}

bool graft_allocate_state(
    graft_training_state *state, const graft_training_description *description) {
  uint64_t bytes;
  memset(state, 0, sizeof *state);
  if (!all_state_bytes(description, &bytes) || !graft_allocate(&state->memory, bytes)) {
    return false;
  }
  state->buffers = calloc(description->state_count + (size_t)1, sizeof *state->buffers);
  if (!state->buffers) {
    graft_release_state(state);
    return false;
  }
  uint64_t offset = 0;
  for (uint32_t i = 0; i < description->state_count; i++) {
    state->buffers[i] = state->memory.data + offset;
    add_lines(&offset, state_bytes(&description->states[i]));
  }
  return true;
}

void graft_release_state(graft_training_state *state) {
  graft_release(&state->memory);
  free(state->buffers);
  state->buffers = NULL;
}

/* The arena serves both programs, one at a time. */
bool graft_training_arena_bytes(uint64_t batch, uint32_t threads, uint64_t *bytes) {
  uint64_t evaluation;
  if (!graft_arena_bytes(&graft_program_of_training, batch, threads, bytes) ||
      !graft_arena_bytes(&graft_program_of_evaluation, batch, threads, &evaluation)) {
    return false;
  }
  if (evaluation > *bytes) *bytes = evaluation;
  return true;
}

/* Where each of the session's own buffers begins in their memory, in the order of their use. */
typedef struct own_layout {
  uint64_t settings, random, loss, logits, bytes; /* hyperparameters stand at 0 */
} own_layout;

static bool lay_out_own(uint64_t batch, own_layout *layout) {
  const graft_training_description *description = &graft_description_of_training;
  uint64_t at = 0, logits;
  if (!add_lines(&at, (uint64_t)description->group_count * GRAFT_COLUMNS * sizeof(float))) return false;
  layout->settings = at;
  if (!add_lines(&at, GRAFT_SETTINGS * sizeof(float))) return false;
  layout->random = at;
  if (!add_lines(&at, GRAFT_RANDOM_WORDS * sizeof(int32_t))) return false;
  layout->loss = at;
  if (batch > UINT64_MAX / sizeof(float) || !add_lines(&at, batch * sizeof(float))) return false;
  layout->logits = at;
  if (__builtin_mul_overflow(batch * sizeof(float), description->class_count, &logits) ||
      !add_lines(&at, logits)) {
    return false;
  }
  layout->bytes = at;
  return true;
}

uint64_t graft_training_session_bytes(uint64_t batch, uint32_t threads) {
  uint64_t arena, state, total;
  own_layout own;
  return graft_training_arena_bytes(batch, threads, &arena) && all_state_bytes(&graft_description_of_training, &state) &&
                 lay_out_own(batch, &own) && !__builtin_add_overflow(arena, state, &total) &&
                 !__builtin_add_overflow(total, own.bytes, &total)
             ? total
             : 0;
}

bool graft_allocate_own(graft_training_session *session, uint64_t batch) {
  own_layout layout;
  if (!lay_out_own(batch, &layout) || !graft_allocate(&session->own, layout.bytes)) return false;
  unsigned char *data = session->own.data;
  session->hyperparameters = (float *)(void *)data;
  session->settings = (float *)(void *)(data + layout.settings);
  session->random = (int32_t *)(void *)(data + layout.random);
  session->loss = (float *)(void *)(data + layout.loss);
  session->logits = (float *)(void *)(data + layout.logits);
  const size_t inputs = graft_description_of_training.step->input_count;
  session->inputs = calloc(inputs + 1, sizeof *session->inputs);
  session->input_bytes = calloc(inputs + 1, sizeof *session->input_bytes);
  return session->inputs && session->input_bytes;
}
