/* The functions behind graft.h: a session holds one copy of the weights, one arena and its threads,
 * and runs the steps that model.c lists, each split over the threads by its number of units alone.
 */
#define _GNU_SOURCE
#include "graft_runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct graft_session {
  atomic_flag busy;
  uint32_t threads;
  uint64_t largest_batch;
  graft_memory weights;
  graft_memory arena; /* values that grow with the batch, then fixed ones, then threads' scratch */
  graft_pool *pool;   /* NULL where the caller brings a parallel-for */
  graft_parallel_for *parallel_for;
  void *parallel_context;
  uint64_t *step_nanoseconds; /* NULL until someone asked for times */
  uint32_t steps_timed;
};

/* One call under way, as its threads see it. */
typedef struct run_state {
  graft_session *session;
  const graft_call *call;
  const graft_step *steps;
  graft_frame frame;
  unsigned char *scratch; /* scratch_bytes_per_thread for each thread */
  uint32_t step;          /* with a parallel-for: the step that is being run */
} run_state;

graft_status graft_fail(
    graft_status status, char *message, size_t message_bytes, const char *format, ...) {
  if (message && message_bytes > 0) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, message_bytes, format, arguments);
    va_end(arguments);
  }
  return status;
}

static const graft_description *describe(void) { return graft_program_of_model.description; }

static bool arena_parts(
    uint64_t batch, uint32_t threads, uint64_t *batched, uint64_t *fixed, uint64_t *total) {
  const graft_description *description = describe();
  uint64_t scratch;
  *fixed = description->arena_bytes_fixed;
  return !__builtin_mul_overflow(batch, description->arena_bytes_per_image, batched) &&
         !__builtin_mul_overflow(threads, description->scratch_bytes_per_thread, &scratch) &&
         !__builtin_add_overflow(*batched, *fixed, total) &&
         !__builtin_add_overflow(*total, scratch, total);
}

static uint64_t arena_bytes(uint64_t batch, uint32_t threads) {
  uint64_t batched, fixed, total;
  return arena_parts(batch, threads, &batched, &fixed, &total) ? total : 0;
}

static void destroy(graft_session *session) {
  if (!session) return;
  graft_pool_destroy(session->pool);
  graft_release(&session->arena);
  graft_release(&session->weights);
  free(session->step_nanoseconds);
  free(session);
}

static graft_status make_room(
    graft_session *session, uint64_t batch, char *message, size_t message_bytes) {
  uint64_t batched, fixed, total;
  graft_memory arena;
  if (!arena_parts(batch, session->threads, &batched, &fixed, &total) ||
      !graft_allocate(&arena, total)) {
    return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                      "no memory for the activations of a batch of %llu",
                      (unsigned long long)batch);
  }
  graft_release(&session->arena);
  session->arena = arena;
  session->largest_batch = batch;
  return GRAFT_OK;
}

static graft_status check_batch(uint64_t batch, char *message, size_t message_bytes) {
  if (batch == 0) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the batch is 0, expected at least 1");
  }
  if (batch > 1 && !describe()->has_batch) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the model fixes its shapes: a batch of %llu is not possible",
                      (unsigned long long)batch);
  }
  return GRAFT_OK;
}

static graft_status create(
    const graft_options *options, graft_session **result, char *message, size_t message_bytes) {
  if (!options || !result || options->struct_bytes < sizeof *options || options->threads == 0 ||
      options->threads > 4096 || (options->flags & ~GRAFT_MAP_WEIGHTS) != 0) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "options are missing, of another size than %zu bytes, carry unknown flags, "
                      "or ask for 0 or more than 4096 threads",
                      sizeof *options);
  }
  *result = NULL;
  const graft_description *description = describe();
  char missing[32];
  if (!graft_cpu_has(description->required_features, missing, sizeof missing)) {
    return graft_fail(GRAFT_UNSUPPORTED_CPU, message, message_bytes,
                      "this CPU lacks %s; the model was compiled for %s (%s)", missing,
                      description->target, description->required_features);
  }
  graft_status status = check_batch(options->largest_batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  graft_session *session = calloc(1, sizeof *session);
  if (!session) return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  atomic_flag_clear(&session->busy);
  session->threads = options->threads;
  session->parallel_for = options->parallel_for;
  session->parallel_context = options->parallel_context;
  status = graft_load_weights(&session->weights, options, message, message_bytes);
  if (status == GRAFT_OK) {
    status = make_room(session, options->largest_batch, message, message_bytes);
  }
  if (status == GRAFT_OK && !session->parallel_for) {
    session->pool = graft_pool_create(session->threads);
    if (!session->pool) {
      status = graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
    }
  }
  if (status != GRAFT_OK) {
    destroy(session);
    return status;
  }
  *result = session;
  return GRAFT_OK;
}

static graft_status enter(graft_session *session, char *message, size_t message_bytes) {
  if (!session) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "the session is NULL");
  }
  if (atomic_flag_test_and_set(&session->busy)) {
    return graft_fail(GRAFT_BUSY, message, message_bytes,
                      "the session is in use by another thread: use one session a thread");
  }
  return GRAFT_OK;
}

static graft_status reserve(
    graft_session *session, uint64_t batch, char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  status = check_batch(batch, message, message_bytes);
  if (status == GRAFT_OK && batch > session->largest_batch) {
    status = make_room(session, batch, message, message_bytes);
  }
  atomic_flag_clear(&session->busy);
  return status;
}

static size_t element_bytes(graft_dtype dtype) {
  switch (dtype) {
    case GRAFT_INT64:
    case GRAFT_FLOAT64: return 8;
    case GRAFT_FLOAT16:
    case GRAFT_BFLOAT16: return 2;
    case GRAFT_INT8:
    case GRAFT_UINT8:
    case GRAFT_BOOL: return 1;
    case GRAFT_FLOAT32:
    case GRAFT_INT32: return 4;
  }
  return 4;
}

static uint64_t extent_at(const graft_tensor *tensor, uint32_t axis, uint64_t batch) {
  const graft_extent extent = tensor->extents[axis];
  return (uint64_t)extent.scale * batch + (uint64_t)extent.base;
}

/* Bytes of the tensor; UINT64_MAX where they cannot be counted. */
static uint64_t tensor_bytes(const graft_tensor *tensor, uint64_t batch) {
  uint64_t bytes = element_bytes(tensor->dtype);
  for (uint32_t axis = 0; axis < tensor->rank; axis++) {
    if (__builtin_mul_overflow(bytes, extent_at(tensor, axis, batch), &bytes)) return UINT64_MAX;
  }
  return bytes;
}

static graft_status check_buffer(
    const char *kind, const graft_tensor *tensor, const void *data, uint64_t bytes,
    uint64_t batch, char *message, size_t message_bytes) {
  const uint64_t expected = tensor_bytes(tensor, batch);
  if (bytes == expected && (data || bytes == 0)) return GRAFT_OK;
  return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                    "%s \"%.100s\" has %llu bytes, expected %llu at a batch of %llu", kind,
                    tensor->name, data ? (unsigned long long)bytes : 0ull,
                    (unsigned long long)expected, (unsigned long long)batch);
}

static graft_status check_call(
    const graft_session *session, const graft_call *call, char *message, size_t message_bytes) {
  const graft_description *description = describe();
  if (!call || call->struct_bytes < sizeof *call ||
      call->end_step > description->step_count || call->first_step > call->end_step ||
      (description->input_count > 0 && (!call->inputs || !call->input_bytes)) ||
      (description->output_count > 0 && (!call->outputs || !call->output_bytes)) ||
      (call->tap_count > 0 && !call->taps)) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the call is missing parts, or its steps are not within 0 ... %u",
                      description->step_count);
  }
  graft_status status = check_batch(call->batch, message, message_bytes);
  if (status != GRAFT_OK) return status;
  if (call->batch > session->largest_batch) {
    return graft_fail(GRAFT_BATCH_TOO_LARGE, message, message_bytes,
                      "a batch of %llu, but the session has room for %llu",
                      (unsigned long long)call->batch,
                      (unsigned long long)session->largest_batch);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < description->input_count; i++) {
    status = check_buffer("input", &description->inputs[i], call->inputs[i],
                          call->input_bytes[i], call->batch, message, message_bytes);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < description->output_count; i++) {
    status = check_buffer("output", &description->outputs[i], call->outputs[i],
                          call->output_bytes[i], call->batch, message, message_bytes);
  }
  for (uint32_t i = 0; status == GRAFT_OK && i < call->tap_count; i++) {
    const graft_tap *tap = &call->taps[i];
    if (tap->value >= description->value_count) {
      return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                        "tap %u names value %u, but there are %u", i, tap->value,
                        description->value_count);
    }
    status = check_buffer("value", &description->values[tap->value], tap->data, tap->bytes,
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
  }
  return frame->arena;
}

/* Copies a value out of its layout into plain row-major order. */
static void copy_tap(const graft_tap *tap, const graft_frame *frame) {
  const graft_tensor *tensor = &describe()->values[tap->value];
  const graft_place *place = &graft_program_of_model.places[tap->value];
  const unsigned char *from = address_of(place, frame);
  unsigned char *to = tap->data;
  const size_t bytes = element_bytes(tensor->dtype), block = place->channel_block;
  if (block == 1 && place->border_height == 0 && place->border_width == 0) {
    if (tap->bytes > 0) memcpy(to, from, tap->bytes);
    return;
  }
  const size_t images = extent_at(tensor, 0, frame->batch);
  const size_t channels = tensor->rank > 1 ? extent_at(tensor, 1, frame->batch) : 1;
  const size_t width = tensor->rank > 2 ? extent_at(tensor, tensor->rank - 1, frame->batch) : 1;
  size_t height = 1;
  for (uint32_t axis = 2; axis + 1 < tensor->rank; axis++) {
    height *= extent_at(tensor, axis, frame->batch);
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
    if (describe()->values[tap->value].available_after_step == step) copy_tap(tap, &state->frame);
  }
}

static bool has_tap_after(const graft_call *call, uint32_t step) {
  for (uint32_t i = 0; i < call->tap_count; i++) {
    if (describe()->values[call->taps[i].value].available_after_step == step) return true;
  }
  return false;
}

static void run_share(const run_state *state, uint32_t index, uint32_t thread) {
  const graft_step *step = &state->steps[index];
  const uint64_t threads = state->session->threads;
  const uint64_t units = step->units_per_image * state->frame.batch + step->units_fixed;
  /* The first units % threads shares have one unit more. */
  const uint64_t small = units / threads, rest = units % threads;
  const uint64_t begin = small * thread + (thread < rest ? thread : rest);
  const uint64_t end = begin + small + (thread < rest ? 1 : 0);
  if (begin < end) {
    step->run(&state->frame, (size_t)begin, (size_t)end,
              state->scratch + (size_t)thread * describe()->scratch_bytes_per_thread);
  }
}

static uint64_t clock_nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* All steps of the call on one of the session's threads; they meet after each. */
static void run_on_pool(void *argument, uint32_t thread) {
  const run_state *state = argument;
  graft_session *session = state->session;
  const graft_call *call = state->call;
  uint64_t *times = thread == 0 ? session->step_nanoseconds : NULL;
  uint64_t before = times ? clock_nanoseconds() : 0;
  for (uint32_t i = call->first_step; i < call->end_step; i++) {
    run_share(state, i, thread);
    graft_pool_barrier(session->pool);
    if (call->tap_count > 0 && has_tap_after(call, i)) {
      if (thread == 0) copy_taps_after(state, i);
      graft_pool_barrier(session->pool);
    }
    if (times) {
      const uint64_t after = clock_nanoseconds();
      times[i] = after - before;
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
  graft_session *session = state->session;
  uint64_t before = session->step_nanoseconds ? clock_nanoseconds() : 0;
  for (uint32_t i = state->call->first_step; i < state->call->end_step; i++) {
    state->step = i;
    session->parallel_for(session->parallel_context, run_share_of_step, state, session->threads);
    copy_taps_after(state, i);
    if (session->step_nanoseconds) {
      const uint64_t after = clock_nanoseconds();
      session->step_nanoseconds[i] = after - before;
      before = after;
    }
  }
}

static graft_status run(
    graft_session *session, const graft_call *call, char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  status = check_call(session, call, message, message_bytes);
  if (status == GRAFT_OK && session->pool && graft_pool_is_orphaned(session->pool)) {
    status = graft_fail(GRAFT_THREAD_ERROR, message, message_bytes,
                        "the process has forked since the session's threads were started: "
                        "create the session in the child");
  }
  if (status == GRAFT_OK) {
    const uint64_t mode = graft_set_float_mode();
    const graft_description *description = describe();
    run_state state = {
        .session = session,
        .call = call,
        .steps = call->batch == 1 ? graft_program_of_model.steps_one
                                  : graft_program_of_model.steps_many,
        .frame = {.arena = session->arena.data,
                  .fixed = session->arena.data +
                           session->largest_batch * description->arena_bytes_per_image,
                  .weights = session->weights.data,
                  .inputs = call->inputs,
                  .outputs = call->outputs,
                  .batch = (size_t)call->batch},
    };
    state.scratch = state.frame.fixed + description->arena_bytes_fixed;
    if (session->parallel_for) {
      run_on_parallel_for(&state);
    } else if (!graft_pool_run(session->pool, run_on_pool, &state)) {
      status = graft_fail(GRAFT_THREAD_ERROR, message, message_bytes,
                          "cannot start %u threads", session->threads - 1);
    }
    session->steps_timed = session->step_nanoseconds ? call->end_step : 0;
    graft_restore_float_mode(mode);
  }
  atomic_flag_clear(&session->busy);
  return status;
}

static uint32_t step_times(graft_session *session, uint64_t *nanoseconds, uint32_t capacity) {
  if (enter(session, NULL, 0) != GRAFT_OK) return 0;
  uint32_t count = 0;
  if (!session->step_nanoseconds) {
    session->step_nanoseconds = calloc(describe()->step_count + 1u, sizeof(uint64_t));
  } else if (nanoseconds) {
    count = session->steps_timed < capacity ? session->steps_timed : capacity;
    memcpy(nanoseconds, session->step_nanoseconds, count * sizeof(uint64_t));
  }
  atomic_flag_clear(&session->busy);
  return count;
}

__attribute__((visibility("default"))) const graft_model_api *graft_model(void) {
  static const graft_model_api api = {
      GRAFT_ABI_VERSION, sizeof(graft_model_api), describe, arena_bytes, create, reserve, run,
      step_times,        destroy,
  };
  return &api;
}
