/* One call of a session's program: checks what the caller hands over, and runs the steps, each split over the
 * threads by its number of units alone, a large batch part by part.
 */
#define _GNU_SOURCE
#include "graft_runtime.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How many images a part of a batch has: all that the program says, or fewer that make even parts; the batch
 * where it does not split. */
static uint64_t images_of_part(const graft_program *program, uint64_t batch) {
  const uint64_t most = program->images_at_once;
  if (most == 0 || batch <= most) return batch;
  const uint64_t parts = (batch - 1) / most + 1;
  return (batch - 1) / parts + 1;
}

/* For how many images there is memory beside the whole batch's: those of a part, whose activations must
 * leave alone what other parts have left for the steps that take all images together. */
static uint64_t images_kept_apart(const graft_program *program, uint64_t batch) {
  const bool has_later_steps = program->steps_in_parts < program->description->step_count;
  const uint64_t most = program->images_at_once;
  return has_later_steps && most < batch ? most : 0;
}

bool graft_arena_bytes(
    const graft_program *program, uint64_t batch, uint32_t threads, uint64_t *bytes) {
  const graft_description *description = program->description;
  uint64_t images, batched, scratch;
  return !__builtin_add_overflow(batch, images_kept_apart(program, batch), &images) &&
         !__builtin_mul_overflow(images, description->arena_bytes_per_image, &batched) &&
         !__builtin_mul_overflow(threads, description->scratch_bytes_per_thread, &scratch) &&
         !__builtin_add_overflow(batched, description->arena_bytes_fixed, bytes) &&
         !__builtin_add_overflow(*bytes, scratch, bytes);
}

/* One call under way, as its threads see it. */
typedef struct run_state {
  graft_engine *engine;
  const graft_program *program;
  const graft_call *call;
  graft_frame frame;
  unsigned char *scratch; /* scratch_bytes_per_thread for each thread */
  uint64_t *nanoseconds;  /* one a step, or NULL */
  uint32_t threads;       /* that share each step */
  uint32_t begin, end;    /* the steps that are run */
  uint32_t step;          /* with a parallel-for: the step that is being run */
} run_state;

static graft_status check_call(
    const graft_engine *engine, const graft_program *program, const graft_call *call, char *message,
    size_t message_bytes) {
  const graft_description *description = program->description;
  if (!call || call->struct_bytes < sizeof *call ||
      call->end_step > description->step_count || call->first_step > call->end_step ||
      (description->input_count > 0 && (!call->inputs || !call->input_bytes)) ||
      (description->output_count > 0 && (!call->outputs || !call->output_bytes)) ||
      (call->tap_count > 0 && !call->taps)) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the call is missing parts, or its steps are not within 0 ... %u",
                      description->step_count);
  }
  graft_status status = graft_check_batch(program, call->batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (call->batch > engine->largest_batch) {
    return graft_fail(GRAFT_BATCH_TOO_LARGE, message, message_bytes,
                      "a batch of %llu, but the session has room for %llu",
                      (unsigned long long)call->batch,
                      (unsigned long long)engine->largest_batch);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < description->input_count; i++) {
    status = graft_check_buffer("input", &description->inputs[i], call->inputs[i],
                          call->input_bytes[i], call->batch, message, message_bytes);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < description->output_count; i++) {
    status = graft_check_buffer("output", &description->outputs[i], call->outputs[i],
                          call->output_bytes[i], call->batch, message, message_bytes);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < call->tap_count; i++) {
    const graft_tap *tap = &call->taps[i];
    if (tap->value >= description->value_count) {
      return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                        "tap %u names value %u, but there are %u", i, tap->value,
                        description->value_count);
    }
    status = graft_check_buffer("value", &description->values[tap->value], tap->data, tap->bytes,
                          call->batch, message, message_bytes);
  }
  return status;
}

static const unsigned char *address_of(const graft_place *place, const graft_frame *frame) {
  switch (place->region) {
    case GRAFT_IN_ARENA: return frame->arena + place->offset * frame->batch;
    case GRAFT_IN_FIXED: return frame->fixed + place->offset;
    case GRAFT_IN_WEIGHTS: return frame->weights + place->offset;
    case GRAFT_IN_INPUT: return frame->inputs[place->offset];
    case GRAFT_IN_OUTPUT: return frame->outputs[place->offset];
    case GRAFT_IN_STATE: return frame->state[place->offset];
  }
  return frame->arena;
}

/* Copies a value out of its layout into plain row-major order. */
static void copy_tap(
    const graft_program *program, const graft_tap *tap, const graft_frame *frame) {
  const graft_tensor *tensor = &program->description->values[tap->value];
  const graft_place *place = &program->places[tap->value];
  const unsigned char *from = address_of(place, frame);
  unsigned char *to = tap->data;
  const size_t bytes = graft_element_bytes(tensor->dtype), block = place->channel_block;
  if (block == 1 && place->border_height == 0 && place->border_width == 0) {
    if (tap->bytes > 0) memcpy(to, from, tap->bytes);
    return;
  }
  const size_t images = graft_extent_at(tensor, 0, frame->batch);
  const size_t channels = tensor->rank > 1 ? graft_extent_at(tensor, 1, frame->batch) : 1;
  const size_t width = tensor->rank > 2 ? graft_extent_at(tensor, tensor->rank - 1, frame->batch) : 1;
  size_t height = 1;
  for (uint32_t axis = 2; axis + 1 < tensor->rank; axis++) {
    height *= graft_extent_at(tensor, axis, frame->batch);
  }
  const size_t row = width + 2 * place->border_width;
  const size_t plane = row * (height + 2 * place->border_height);
  const size_t blocks = (channels + block - 1) / block;
  for (size_t n = 0; n < images; n++) {
    for (size_t c = 0; c < channels; c++) {
      const size_t first = ((n * blocks + c / block) * plane + place->border_height * row +
                            place->border_width) * block + c % block;
      for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++, to += bytes) {
          memcpy(to, from + (first + (y * row + x) * block) * bytes, bytes);
        }
      }
    }
  }
}

static void copy_taps_after(const run_state *state, uint32_t step) {
  for (uint32_t i = 0; i < state->call->tap_count; i++) {
    const graft_tap *tap = &state->call->taps[i];
    if (state->program->description->values[tap->value].available_after_step == step) {
      copy_tap(state->program, tap, &state->frame);
    }
  }
}

static bool has_tap_after(const run_state *state, uint32_t step) {
  const graft_tensor *values = state->program->description->values;
  for (uint32_t i = 0; i < state->call->tap_count; i++) {
    if (values[state->call->taps[i].value].available_after_step == step) return true;
  }
  return false;
}

static void run_share(const run_state *state, uint32_t index, uint32_t thread) {
  const graft_step *step = &state->program->steps[index];
  const uint64_t threads = state->threads;
  const uint64_t units = step->units_per_image * state->frame.batch + step->units_fixed;
  /* The first units % threads shares have one unit more. */
  const uint64_t small = units / threads, rest = units % threads;
  const uint64_t begin = small * thread + (thread < rest ? thread : rest);
  const uint64_t end = begin + small + (thread < rest ? 1 : 0);
  if (begin < end) {
    const size_t scratch_bytes = state->program->description->scratch_bytes_per_thread;
    step->run(&state->frame, (size_t)begin, (size_t)end,
              state->scratch + (size_t)thread * scratch_bytes);
  }
}

static uint64_t clock_nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void meet(const run_state *state) {
  if (state->threads > 1) graft_pool_barrier(state->engine->pool);
}

/* All steps of the call on one of the session's threads; they meet after each. */
static void run_on_pool(void *argument, uint32_t thread) {
  const run_state *state = argument;
  const graft_call *call = state->call;
  uint64_t *times = thread == 0 ? state->nanoseconds : NULL;
  uint64_t before = times ? clock_nanoseconds() : 0;
  for (uint32_t i = state->begin; i < state->end; i++) {
    run_share(state, i, thread);
    meet(state);
    if (call->tap_count > 0 && has_tap_after(state, i)) {
      if (thread == 0) copy_taps_after(state, i);
      meet(state);
    }
    if (times) {
      const uint64_t after = clock_nanoseconds();
      times[i] += after - before;
      before = after;
    }
  }
}

static void run_share_of_step(void *argument, uint32_t index) {
  const run_state *state = argument;
  const uint64_t mode = graft_set_float_mode();
  run_share(state, state->step, index);
  graft_restore_float_mode(mode);
}

static void run_on_parallel_for(run_state *state) {
  graft_engine *engine = state->engine;
  uint64_t before = state->nanoseconds ? clock_nanoseconds() : 0;
  for (uint32_t i = state->begin; i < state->end; i++) {
    state->step = i;
    engine->parallel_for(engine->parallel_context, run_share_of_step, state, engine->threads);
    copy_taps_after(state, i);
    if (state->nanoseconds) {
      const uint64_t after = clock_nanoseconds();
      state->nanoseconds[i] += after - before;
      before = after;
    }
  }
}

static bool run_steps(run_state *run, uint32_t begin, uint32_t end) {
  run->begin = begin;
  run->end = end;
  if (run->engine->parallel_for) {
    run_on_parallel_for(run);
  } else if (run->threads == 1) {
    run_on_pool(run, 0);
  } else {
    return graft_pool_run(run->engine->pool, run_on_pool, run);
  }
  return true;
}

/* Whether a batch goes in parts. A call that stops in between, or copies inner values, leaves all images
 * at the same step. */
static bool has_parts(const graft_program *program, const graft_call *call) {
  return images_of_part(program, call->batch) < call->batch && call->first_step == 0 &&
         call->tap_count == 0 && call->end_step == program->description->step_count;
}

/* Takes the images from `first` on through the steps that are run in parts. */
static bool run_part(run_state *run, uint64_t first, uint64_t images) {
  const graft_description *description = run->program->description;
  const graft_call *call = run->call;
  void **inputs = run->engine->part_buffers, **outputs = inputs + description->input_count;
  for (uint32_t i = 0; i < description->input_count; i++) {
    const uint64_t bytes = call->input_bytes[i] / call->batch;
    inputs[i] = (void *)((uintptr_t)call->inputs[i] + first * bytes);
  }
  for (uint32_t i = 0; i < description->output_count; i++) {
    outputs[i] = (unsigned char *)call->outputs[i] + first * (call->output_bytes[i] / call->batch);
  }
  run->frame.inputs = (const void *const *)inputs;
  run->frame.outputs = outputs;
  run->frame.batch = (size_t)images;
  run->frame.first_image = (size_t)first;
  return run_steps(run, 0, run->program->steps_in_parts);
}

/* The first steps part by part, the others on the whole batch. */
static bool run_parts(run_state *run) {
  const graft_frame whole = run->frame;
  const uint64_t batch = run->call->batch, part = images_of_part(run->program, batch);
  const uint32_t step_count = run->program->description->step_count;
  if (images_kept_apart(run->program, batch) > 0) {
    run->frame.arena =
        run->scratch + run->engine->threads * run->program->description->scratch_bytes_per_thread;
  }
  for (uint64_t first = 0; first < batch; first += part) {
    if (!run_part(run, first, part < batch - first ? part : batch - first)) return false;
  }
  run->frame = whole;
  const uint32_t done = run->program->steps_in_parts;
  return done == step_count || run_steps(run, done, step_count);
}

static bool run_all(run_state *run, bool in_parts) {
  if (in_parts) return run_parts(run);
  return run_steps(run, run->call->first_step, run->call->end_step);
}

/* On all of the session's own threads, or on the caller's alone where that is known to be quicker. */
static bool run_at_pace(run_state *run, bool in_parts) {
  graft_engine *engine = run->engine;
  if (engine->parallel_for || engine->threads == 1) return run_all(run, in_parts);
  const bool is_alone = graft_pace_is_alone(&engine->pace, run->program, run->call);
  if (is_alone) run->threads = 1;
  graft_pool_long_waits(engine->pool);
  const uint64_t before = clock_nanoseconds();
  if (!run_all(run, in_parts)) return false;
  graft_pace_learn(&engine->pace, is_alone, clock_nanoseconds() - before,
                   graft_pool_long_waits(engine->pool));
  return true;
}

graft_status graft_engine_run(
    graft_engine *engine, const graft_engine_call *call, char *message, size_t message_bytes) {
  const graft_status status =
      check_call(engine, call->program, call->call, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (engine->pool && graft_pool_is_orphaned(engine->pool)) {
    return graft_fail(GRAFT_THREAD_ERROR, message, message_bytes,
                      "the process has forked since the session's threads were started: "
                      "create the session in the child");
  }
  const graft_description *description = call->program->description;
  run_state run = {
      .engine = engine,
      .program = call->program,
      .call = call->call,
      .threads = engine->threads,
      .frame = {.arena = engine->arena.data,
                .fixed = engine->arena.data +
                         engine->largest_batch * description->arena_bytes_per_image,
                .weights = engine->weights.data,
                .inputs = call->call->inputs,
                .outputs = call->call->outputs,
                .batch = (size_t)call->call->batch,
                .state = call->state,
                .kept = engine->arena.data,
                .kept_batch = (size_t)call->call->batch},
      .nanoseconds = call->is_timed ? engine->step_nanoseconds : NULL,
  };
  run.scratch = run.frame.fixed + description->arena_bytes_fixed;
  if (run.nanoseconds) memset(run.nanoseconds, 0, description->step_count * sizeof(uint64_t));
  const bool in_parts = has_parts(call->program, call->call);
  if (in_parts && !engine->part_buffers) {
    const size_t buffers = (size_t)description->input_count + description->output_count;
    engine->part_buffers = calloc(buffers + 1, sizeof(void *));
    if (!engine->part_buffers) {
      return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
    }
  }
  const uint64_t mode = graft_set_float_mode();
  const bool ran = run_at_pace(&run, in_parts);
  graft_restore_float_mode(mode);
  if (!ran) {
    return graft_fail(GRAFT_THREAD_ERROR, message, message_bytes, "cannot start threads for %u in all",
                      engine->threads);
  }
  if (run.nanoseconds) engine->steps_timed = call->call->end_step;
  return GRAFT_OK;
}

uint32_t graft_engine_step_times(
    graft_engine *engine, uint32_t step_count, uint64_t *nanoseconds, uint32_t capacity) {
  if (!engine->step_nanoseconds) {
    engine->step_nanoseconds = calloc(step_count + 1u, sizeof(uint64_t));
    return 0;
  }
  if (!nanoseconds) return 0;
  const uint32_t count = engine->steps_timed < capacity ? engine->steps_timed : capacity;
  memcpy(nanoseconds, engine->step_nanoseconds, count * sizeof(uint64_t));
  return count;
}
