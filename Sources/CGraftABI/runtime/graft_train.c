/* The functions behind graft_train.h: a session is an engine that runs two programs, the training
 * step and the evaluation, over one state, and counts what the step's own inputs depend on.
 */
#include "graft_training.h"

#include <stdlib.h>
#include <string.h>

static const graft_training_description *describe(void) {
  return &graft_description_of_training;
}

static bool is_tensor_of(const graft_tensor *tensor, const char *name, graft_dtype dtype,
                         uint64_t bytes) {
  return strcmp(tensor->name, name) == 0 && tensor->dtype == dtype &&
         graft_tensor_bytes(tensor, 1) == bytes;
}

/* Whether the tables that generated code brings say what this file relies on. */
static bool tables_agree(const graft_training_description *description) {
  const graft_program *step = &graft_program_of_training;
  const graft_program *evaluation = &graft_program_of_evaluation;
  const graft_tensor *inputs = step->description->inputs;
  uint32_t next = description->step_input_count;
  const uint32_t own = 1u + ((description->flags & GRAFT_TAKES_SETTINGS) != 0) +
                       ((description->flags & GRAFT_TAKES_RANDOM) != 0);
  if (description->step != step->description ||
      description->evaluation != evaluation->description ||
      step->states != description->states || evaluation->states != description->states ||
      step->state_count != description->state_count ||
      evaluation->state_count != description->state_count ||
      step->update_first_step > step->description->step_count ||
      step->description->input_count < own || next != step->description->input_count - own ||
      step->description->output_count != 2 || description->class_count == 0) {
    return false;
  }
  if (!is_tensor_of(&inputs[next++], GRAFT_INPUT_HYPERPARAMETERS, GRAFT_FLOAT32,
                    (uint64_t)description->group_count * GRAFT_COLUMNS * sizeof(float))) {
    return false;
  }
  if ((description->flags & GRAFT_TAKES_SETTINGS) &&
      !is_tensor_of(&inputs[next++], GRAFT_INPUT_SETTINGS, GRAFT_FLOAT32,
                    GRAFT_SETTINGS * sizeof(float))) {
    return false;
  }
  if ((description->flags & GRAFT_TAKES_RANDOM) &&
      !is_tensor_of(&inputs[next++], GRAFT_INPUT_RANDOM, GRAFT_INT32,
                    GRAFT_RANDOM_WORDS * sizeof(int32_t))) {
    return false;
  }
  const graft_tensor *outputs = step->description->outputs;
  return graft_tensor_bytes(&outputs[0], 1) == sizeof(float) &&
         graft_tensor_bytes(&outputs[1], 1) == description->class_count * sizeof(float);
}

static bool state_has_own_name(const graft_training_description *description, uint32_t index) {
  const char *name = description->states[index].tensor.name;
  for (uint32_t i = 0; i < index; i++) {
    if (strcmp(description->states[i].tensor.name, name) == 0) return false;
  }
  return strcmp(name, "__metadata__") != 0; /* which has a meaning in the file of save */
}

/* Copies the first contents out of the packed file, then gives back what only they stood in. */
static graft_status fill_state(
    graft_training_session *session, char *message, size_t message_bytes) {
  const graft_training_description *description = describe();
  graft_memory *weights = &session->engine.weights;
  for (uint32_t i = 0; i < description->state_count; i++) {
    const graft_state *state = &description->states[i];
    const uint64_t bytes = graft_tensor_bytes(&state->tensor, 1);
    const bool is_zero = state->initial_offset == GRAFT_ZEROS;
    if (!state_has_own_name(description, i) ||
        (!is_zero && (bytes > weights->bytes || state->initial_offset > weights->bytes - bytes))) {
      return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                        "state \"%.100s\" has a name in use, or lies outside of train.bin",
                        state->tensor.name);
    }
    if (!is_zero && bytes > 0) {
      memcpy(session->state.buffers[i], weights->data + state->initial_offset, (size_t)bytes);
    }
  }
  graft_shrink(weights, graft_program_of_training.constant_bytes);
  return GRAFT_OK;
}

static void destroy(graft_training_session *session) {
  if (!session) return;
  graft_engine_close(&session->engine);
  graft_release_state(&session->state);
  graft_release(&session->own);
  free(session->inputs);
  free(session->input_bytes);
  free(session);
}

static graft_status prepare(
    graft_training_session *session, const graft_options *options, uint64_t seed, char *message,
    size_t message_bytes) {
  const graft_training_description *description = describe();
  graft_status status = graft_engine_open(&session->engine, options, "train.bin",
                                          description->step, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (!tables_agree(description)) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "the library's tables do not agree with each other");
  }
  const uint64_t batch = options->largest_batch;
  status = graft_check_batch(&graft_program_of_training, batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  uint64_t arena;
  if (!graft_training_arena_bytes(batch, session->engine.threads, &arena)) arena = UINT64_MAX;
  status = graft_engine_make_room(&session->engine, arena, batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (!graft_allocate_state(&session->state, description) || !graft_allocate_own(session, batch)) {
    return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                      "no memory for the state of training");
  }
  session->state.seed = seed;
  return fill_state(session, message, message_bytes);
}

static graft_status create(
    const graft_options *options, uint64_t seed, graft_training_session **result, char *message,
    size_t message_bytes) {
  if (!result) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "no place for the session");
  }
  *result = NULL;
  graft_training_session *session = calloc(1, sizeof *session);
  if (!session) return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  const graft_status status = prepare(session, options, seed, message, message_bytes);
  if (status != GRAFT_OK) {
    destroy(session);
    return status;
  }
  *result = session;
  return GRAFT_OK;
}

static graft_status enter(
    graft_training_session *session, char *message, size_t message_bytes) {
  if (!session) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "the session is NULL");
  }
  return graft_engine_enter(&session->engine, message, message_bytes);
}

static graft_status epoch_order(
    graft_training_session *session, uint64_t epoch, uint32_t count, uint32_t *order,
    char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (!order && count > 0) {
    status = graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "no place for the order");
  } else {
    graft_shuffle(session->state.seed, epoch, count, order);
  }
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status step(
    graft_training_session *session, const graft_training_step *step, char *message,
    size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  status = graft_run_training_step(session, step, message, message_bytes);
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status evaluate(
    graft_training_session *session, const graft_call *call, char *message,
    size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  const graft_engine_call run = {
      .program = &graft_program_of_evaluation,
      .call = call,
      .state = session->state.buffers,
  };
  status = graft_engine_run(&session->engine, &run, message, message_bytes);
  graft_engine_leave(&session->engine);
  return status;
}

/* State */

static graft_status save(
    graft_training_session *session, const char *path, const char *note, char *message,
    size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  status = graft_save_state(&session->state, describe(), path, note, message, message_bytes);
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status load(
    graft_training_session *session, const char *path, char *note, size_t note_bytes,
    char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  graft_training_state loaded;
  if (!graft_allocate_state(&loaded, describe())) {
    status = graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                        "no memory for the state of training");
  } else {
    status = graft_load_state(&loaded, describe(), path, note, note_bytes, message,
                              message_bytes);
    if (status == GRAFT_OK) {
      graft_release_state(&session->state);
      session->state = loaded;
    } else {
      graft_release_state(&loaded);
    }
  }
  graft_engine_leave(&session->engine);
  return status;
}

/* The buffer of state `index`, or NULL with the reason in status. */
static void *state_buffer(
    graft_training_session *session, uint32_t index, const void *data, uint64_t bytes,
    graft_status *status, char *message, size_t message_bytes) {
  const graft_training_description *description = describe();
  if (index >= description->state_count) {
    *status = graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                         "state %u is asked for, but there are %u", index,
                         description->state_count);
    return NULL;
  }
  *status = graft_check_buffer("state", &description->states[index].tensor, data, bytes, 1,
                               message, message_bytes);
  return *status == GRAFT_OK && bytes > 0 ? session->state.buffers[index] : NULL;
}

static graft_status read_state(
    graft_training_session *session, uint32_t index, void *data, uint64_t bytes, char *message,
    size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  const void *buffer =
      state_buffer(session, index, data, bytes, &status, message, message_bytes);
  if (buffer) memcpy(data, buffer, (size_t)bytes);
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status write_state(
    graft_training_session *session, uint32_t index, const void *data, uint64_t bytes,
    char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  void *buffer = state_buffer(session, index, data, bytes, &status, message, message_bytes);
  if (buffer) memcpy(buffer, data, (size_t)bytes);
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status progress(
    graft_training_session *session, graft_training_progress *progress, char *message,
    size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (!progress || progress->struct_bytes < sizeof *progress) {
    status = graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                        "no place for the progress, or of another size than %zu bytes",
                        sizeof *progress);
  } else {
    const graft_training_state *state = &session->state;
    progress->open_micro_batches = state->open_micro_batches;
    progress->updates = state->updates;
    progress->steps = state->steps;
    progress->seed = state->seed;
  }
  graft_engine_leave(&session->engine);
  return status;
}

static graft_status trim(
    graft_training_session *session, char *message, size_t message_bytes) {
  const graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  graft_give_back(&session->engine.arena);
  graft_engine_leave(&session->engine);
  return GRAFT_OK;
}

static uint32_t step_times(
    graft_training_session *session, uint64_t *nanoseconds, uint32_t capacity) {
  if (enter(session, NULL, 0) != GRAFT_OK) return 0;
  const uint32_t count = graft_engine_step_times(
      &session->engine, describe()->step->step_count, nanoseconds, capacity);
  graft_engine_leave(&session->engine);
  return count;
}

__attribute__((visibility("default"))) const graft_training_api *graft_training(void) {
  static const graft_training_api api = {
      .abi_version = GRAFT_TRAINING_ABI_VERSION,
      .table_bytes = sizeof(graft_training_api),
      .describe = describe,
      .session_bytes = graft_training_session_bytes,
      .create = create,
      .epoch_order = epoch_order,
      .step = step,
      .evaluate = evaluate,
      .save = save,
      .load = load,
      .read_state = read_state,
      .write_state = write_state,
      .progress = progress,
      .step_times = step_times,
      .destroy = destroy,
      .trim = trim,
  };
  return &api;
}
