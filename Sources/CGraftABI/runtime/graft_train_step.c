/* One training step: checks what the caller gives, writes the inputs that are the library's own,
 * runs the program as far as the flags say, and counts.
 */
#include "graft_training.h"

#include <math.h>
#include <string.h>

static const graft_training_description *describe(void) {
  return &graft_description_of_training;
}

static bool is_at_least_zero(float value) { return value >= 0 && isfinite(value); }

static graft_status check_hyperparameters(
    const graft_hyperparameters *row, uint32_t group, char *message, size_t message_bytes) {
  const char *name = NULL;
  if (!is_at_least_zero(row->learning_rate)) name = "learning rate";
  if (!is_at_least_zero(row->momentum)) name = "momentum";
  if (!is_at_least_zero(row->weight_decay)) name = "weight decay";
  if (!is_at_least_zero(row->beta1) || row->beta1 >= 1) name = "beta1";
  if (!is_at_least_zero(row->beta2) || row->beta2 >= 1) name = "beta2";
  if (!is_at_least_zero(row->epsilon)) name = "epsilon";
  if (!name) return GRAFT_OK;
  return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                    "the %s of group \"%.100s\" is not a finite number of at least 0%s", name,
                    describe()->group_names[group], name[0] == 'b' ? " and below 1" : "");
}

static graft_status check_step(
    const graft_training_session *session, const graft_training_step *step, char *message,
    size_t message_bytes) {
  const graft_training_description *description = describe();
  const uint32_t known = GRAFT_STEP_CONTINUES | GRAFT_STEP_GOES_ON;
  if (!step || step->struct_bytes < sizeof *step || (step->flags & ~known) != 0 ||
      (description->step_input_count > 0 && (!step->inputs || !step->input_bytes)) ||
      (description->group_count > 0 && !step->hyperparameters) ||
      step->hyperparameter_count != description->group_count) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the step is missing parts, carries unknown flags, or has hyperparameters "
                      "of another number than %u groups",
                      description->group_count);
  }
  for (uint32_t i = 0; i < description->group_count; i++) {
    const graft_status status =
        check_hyperparameters(&step->hyperparameters[i], i, message, message_bytes);
    if (status != GRAFT_OK) return status;
  }
  if (!(step->clip_norm >= 0) || !is_at_least_zero(step->temperature)) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the clip norm and the temperature are %g and %g, expected at least 0",
                      (double)step->clip_norm, (double)step->temperature);
  }
  if (step->flags == 0) return GRAFT_OK;
  bool accumulates = false;
  for (uint32_t i = 0; i < description->state_count; i++) {
    accumulates |= description->states[i].role == GRAFT_STATE_ACCUMULATOR;
  }
  if (!accumulates) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the library was built without accumulation of gradients");
  }
  if ((step->flags & GRAFT_STEP_CONTINUES) && session->state.open_micro_batches == 0) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the step continues an accumulation of gradients, but none is open");
  }
  return GRAFT_OK;
}

/* 1 - beta^t for update number t. By squaring, and not by the C library's pow, whose last bit
 * differs between machines. From the float that kernels use: at t = 1 it cancels their 1 - beta. */
static float bias_correction(float beta, uint64_t t) {
  double power = 1, square = beta;
  for (; t > 0; t >>= 1, square *= square) {
    if (t & 1) power *= square;
  }
  return (float)(1 - power);
}

static void write_own_inputs(graft_training_session *session, const graft_training_step *step) {
  const graft_training_description *description = describe();
  const graft_training_state *state = &session->state;
  for (uint32_t i = 0; i < description->group_count; i++) {
    const graft_hyperparameters *from = &step->hyperparameters[i];
    const float row[GRAFT_COLUMNS] = {
        [GRAFT_COLUMN_LEARNING_RATE] = from->learning_rate,
        [GRAFT_COLUMN_MOMENTUM] = from->momentum,
        [GRAFT_COLUMN_WEIGHT_DECAY] = from->weight_decay,
        [GRAFT_COLUMN_BETA1] = from->beta1,
        [GRAFT_COLUMN_BETA2] = from->beta2,
        [GRAFT_COLUMN_EPSILON] = from->epsilon,
        [GRAFT_COLUMN_BIAS_CORRECTION1] = bias_correction(from->beta1, state->updates + 1),
        [GRAFT_COLUMN_BIAS_CORRECTION2] = bias_correction(from->beta2, state->updates + 1)};
    memcpy(session->hyperparameters + (size_t)i * GRAFT_COLUMNS, row, sizeof row);
  }
  float *settings = session->settings;
  settings[GRAFT_SETTING_CLIP_NORM] = step->clip_norm > 0 ? step->clip_norm : INFINITY;
  settings[GRAFT_SETTING_KEPT_GRADIENTS] = (step->flags & GRAFT_STEP_CONTINUES) ? 1 : 0;
  settings[GRAFT_SETTING_TEMPERATURE] = step->temperature > 0 ? step->temperature : 1;
  /* Micro-batches of one update need masks of their own, so calls count, not updates. */
  const uint32_t random[GRAFT_RANDOM_WORDS] = {
      (uint32_t)state->seed, (uint32_t)(state->seed >> 32), (uint32_t)state->steps, 0};
  memcpy(session->random, random, sizeof random);
}

static void add_input(
    graft_training_session *session, uint32_t *next, const void *data, uint64_t bytes) {
  session->inputs[*next] = data;
  session->input_bytes[*next] = bytes;
  ++*next;
}

static void collect_inputs(graft_training_session *session, const graft_training_step *step) {
  const graft_training_description *description = describe();
  uint32_t next = 0;
  for (uint32_t i = 0; i < description->step_input_count; i++) {
    add_input(session, &next, step->inputs[i], step->input_bytes[i]);
  }
  add_input(session, &next, session->hyperparameters,
            (uint64_t)description->group_count * GRAFT_COLUMNS * sizeof(float));
  if (description->flags & GRAFT_TAKES_SETTINGS) {
    add_input(session, &next, session->settings, GRAFT_SETTINGS * sizeof(float));
  }
  if (description->flags & GRAFT_TAKES_RANDOM) {
    add_input(session, &next, session->random, GRAFT_RANDOM_WORDS * sizeof(int32_t));
  }
}

static graft_status run_step(
    graft_training_session *session, const graft_training_step *step, char *message,
    size_t message_bytes) {
  const graft_program *program = &graft_program_of_training;
  graft_training_state *state = &session->state;
  const bool goes_on = (step->flags & GRAFT_STEP_GOES_ON) != 0;
  graft_status status = graft_check_batch(program, step->batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (step->batch > session->engine.largest_batch) {
    return graft_fail(GRAFT_BATCH_TOO_LARGE, message, message_bytes,
                      "a batch of %llu, but the session has room for %llu",
                      (unsigned long long)step->batch,
                      (unsigned long long)session->engine.largest_batch);
  }
  write_own_inputs(session, step);
  collect_inputs(session, step);
  const uint64_t loss_bytes = step->batch * sizeof(float);
  void *const outputs[2] = {step->loss ? step->loss : session->loss,
                            step->logits ? step->logits : session->logits};
  const uint64_t output_bytes[2] = {
      step->loss ? step->loss_bytes : loss_bytes,
      step->logits ? step->logits_bytes : loss_bytes * describe()->class_count};
  const graft_call call = {
      .struct_bytes = sizeof call,
      .end_step = goes_on ? program->update_first_step : program->description->step_count,
      .tap_count = step->tap_count,
      .batch = step->batch,
      .inputs = session->inputs,
      .input_bytes = session->input_bytes,
      .outputs = outputs,
      .output_bytes = output_bytes,
      .taps = step->taps,
  };
  const graft_engine_call run = {
      .program = program,
      .call = &call,
      .state = state->buffers,
      .is_timed = true,
  };
  status = graft_engine_run(&session->engine, &run, message, message_bytes);
  if (status != GRAFT_OK) return status;
  state->steps++;
  const uint32_t open = (step->flags & GRAFT_STEP_CONTINUES) ? state->open_micro_batches : 0;
  state->open_micro_batches = goes_on ? open + 1 : 0;
  if (!goes_on) state->updates++;
  return GRAFT_OK;
}

graft_status graft_run_training_step(
    graft_training_session *session, const graft_training_step *step, char *message,
    size_t message_bytes) {
  const graft_status status = check_step(session, step, message, message_bytes);
  return status == GRAFT_OK ? run_step(session, step, message, message_bytes) : status;
}
