/* The engine of a session: it loads weights and keeps the arena and the threads. graft_run.c runs programs on
 * it; what a session means is said in graft_session.c and graft_train.c.
 */
#include "graft_runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void graft_engine_close(graft_engine *engine) {
  graft_pool_destroy(engine->pool);
  graft_release(&engine->arena);
  graft_release(&engine->weights);
  free(engine->part_buffers);
  free(engine->step_nanoseconds);
}

graft_status graft_engine_make_room(
    graft_engine *engine, uint64_t bytes, uint64_t batch, char *message, size_t message_bytes) {
  graft_memory arena;
  if (!graft_allocate(&arena, bytes)) {
    return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                      "no memory for the activations of a batch of %llu",
                      (unsigned long long)batch);
  }
  graft_release(&engine->arena);
  engine->arena = arena;
  engine->largest_batch = batch;
  return GRAFT_OK;
}

graft_status graft_check_batch(
    const graft_program *program, uint64_t batch, char *message, size_t message_bytes) {
  if (batch == 0) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the batch is 0, expected at least 1");
  }
  if (batch > 1 && !program->description->has_batch) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "the model fixes its shapes: a batch of %llu is not possible",
                      (unsigned long long)batch);
  }
  return GRAFT_OK;
}

graft_status graft_engine_open(
    graft_engine *engine, const graft_options *options, const char *file_name,
    const graft_description *description, char *message, size_t message_bytes) {
  memset(engine, 0, sizeof *engine);
  atomic_flag_clear(&engine->busy);
  if (!options || options->struct_bytes < sizeof *options || options->threads == 0 ||
      options->threads > 4096 || (options->flags & ~GRAFT_MAP_WEIGHTS) != 0) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "options are missing, of another size than %zu bytes, carry unknown flags, "
                      "or ask for 0 or more than 4096 threads",
                      sizeof *options);
  }
  char missing[32];
  if (!graft_cpu_has(description->required_features, missing, sizeof missing)) {
    return graft_fail(GRAFT_UNSUPPORTED_CPU, message, message_bytes,
                      "this CPU lacks %s; the model was compiled for %s (%s)", missing,
                      description->target, description->required_features);
  }
  engine->threads = options->threads;
  engine->parallel_for = options->parallel_for;
  engine->parallel_context = options->parallel_context;
  if (!engine->parallel_for) {
    engine->pool = graft_pool_create(engine->threads);
    if (!engine->pool) {
      return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
    }
  }
  return graft_load_weights(&engine->weights, options, file_name, description, message,
                            message_bytes);
}

graft_status graft_engine_enter(graft_engine *engine, char *message, size_t message_bytes) {
  if (atomic_flag_test_and_set(&engine->busy)) {
    return graft_fail(GRAFT_BUSY, message, message_bytes,
                      "the session is in use by another thread: use one session a thread");
  }
  return GRAFT_OK;
}

void graft_engine_leave(graft_engine *engine) { atomic_flag_clear(&engine->busy); }

size_t graft_element_bytes(graft_dtype dtype) {
  switch (dtype) {
    case GRAFT_INT64:
    case GRAFT_UINT64:
    case GRAFT_FLOAT64: return 8;
    case GRAFT_FLOAT16:
    case GRAFT_INT16:
    case GRAFT_UINT16:
    case GRAFT_BFLOAT16: return 2;
    case GRAFT_INT8:
    case GRAFT_UINT8:
    case GRAFT_BOOL: return 1;
    case GRAFT_FLOAT32:
    case GRAFT_UINT32:
    case GRAFT_INT32: return 4;
  }
  return 4;
}

uint64_t graft_extent_at(const graft_tensor *tensor, uint32_t axis, uint64_t batch) {
  const graft_extent extent = tensor->extents[axis];
  return (uint64_t)extent.scale * batch + (uint64_t)extent.base;
}

uint64_t graft_tensor_bytes(const graft_tensor *tensor, uint64_t batch) {
  uint64_t bytes = graft_element_bytes(tensor->dtype);
  for (uint32_t axis = 0; axis < tensor->rank; axis++) {
    if (__builtin_mul_overflow(bytes, graft_extent_at(tensor, axis, batch), &bytes)) return UINT64_MAX;
  }
  return bytes;
}

graft_status graft_check_buffer(
    const char *kind, const graft_tensor *tensor, const void *data, uint64_t bytes,
    uint64_t batch, char *message, size_t message_bytes) {
  const uint64_t expected = graft_tensor_bytes(tensor, batch);
  if (bytes == expected && (data || bytes == 0)) return GRAFT_OK;
  return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                    "%s \"%.100s\" has %llu bytes, expected %llu at a batch of %llu", kind,
                    tensor->name, data ? (unsigned long long)bytes : 0ull,
                    (unsigned long long)expected, (unsigned long long)batch);
}
