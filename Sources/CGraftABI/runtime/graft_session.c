/* The functions behind graft.h: a session is an engine that runs one of the model's programs.
 */
#include "graft_runtime.h"

#include <stdlib.h>

struct graft_session {
  graft_engine engine;
  const graft_program *program;
};

uint64_t graft_session_bytes(const graft_program *program, uint64_t batch, uint32_t threads) {
  uint64_t bytes;
  return graft_arena_bytes(program, batch, threads, &bytes) ? bytes : 0;
}

void graft_session_destroy(graft_session *session) {
  if (!session) return;
  graft_engine_close(&session->engine);
  free(session);
}

static graft_status make_room(
    graft_session *session, uint64_t batch, char *message, size_t message_bytes) {
  uint64_t bytes;
  if (!graft_arena_bytes(session->program, batch, session->engine.threads, &bytes)) {
    bytes = UINT64_MAX; /* more than there can be */
  }
  return graft_engine_make_room(&session->engine, bytes, batch, message, message_bytes);
}

graft_status graft_session_create(
    const graft_program *program, const graft_options *options, graft_session **result,
    char *message, size_t message_bytes) {
  if (!result) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "no place for the session");
  }
  *result = NULL;
  graft_session *session = calloc(1, sizeof *session);
  if (!session) return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  session->program = program;
  graft_status status = graft_engine_open(&session->engine, options, "packed.bin",
                                          program->description, message, message_bytes);
  if (status == GRAFT_OK) {
    status = graft_check_batch(session->program, options->largest_batch, message, message_bytes);
  }
  if (status == GRAFT_OK) {
    status = make_room(session, options->largest_batch, message, message_bytes);
  }
  if (status != GRAFT_OK) {
    graft_session_destroy(session);
    return status;
  }
  *result = session;
  return GRAFT_OK;
}

static graft_status enter(graft_session *session, char *message, size_t message_bytes) {
  if (!session) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes, "the session is NULL");
  }
  return graft_engine_enter(&session->engine, message, message_bytes);
}

graft_status graft_session_reserve(
    graft_session *session, uint64_t batch, char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  status = graft_check_batch(session->program, batch, message, message_bytes);
  if (status == GRAFT_OK && batch > session->engine.largest_batch) {
    status = make_room(session, batch, message, message_bytes);
  }
  graft_engine_leave(&session->engine);
  return status;
}

graft_status graft_session_run(
    graft_session *session, const graft_call *call, char *message, size_t message_bytes) {
  graft_status status = enter(session, message, message_bytes);
  if (status != GRAFT_OK) return status;
  const graft_engine_call one = {
      .program = session->program,
      .call = call,
      .is_timed = true,
  };
  status = graft_engine_run(&session->engine, &one, message, message_bytes);
  graft_engine_leave(&session->engine);
  return status;
}

uint32_t graft_session_step_times(
    graft_session *session, uint64_t *nanoseconds, uint32_t capacity) {
  if (enter(session, NULL, 0) != GRAFT_OK) return 0;
  const uint32_t count = graft_engine_step_times(
      &session->engine, session->program->description->step_count, nanoseconds, capacity);
  graft_engine_leave(&session->engine);
  return count;
}

__attribute__((visibility("default"))) const graft_model_api *graft_model(void) {
  return graft_model_program(0);
}
