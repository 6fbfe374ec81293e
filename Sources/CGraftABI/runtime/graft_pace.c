/* Whether a session's threads run at the same time. Where they share a core with each other, or with other
 * programs, every barrier waits for a thread that has no core, and one thread alone is the faster one. So
 * where waits grow long, a call is made by the caller's thread alone, and the quicker way is kept; now and
 * then the other one is tried again. Results are the same bits either way.
 */
#include "graft_runtime.h"

enum {
  FEWEST_LONG_WAITS = 3, /* in a call, before one thread alone is tried */
  STEPS_A_LONG_WAIT = 4, /* at most so many steps for each of them */
  FIRST_PATIENCE = 8,    /* calls before the other way is tried again, doubled each time it loses */
  MOST_PATIENCE = 256
};

/* Times are of one kind of call: those of another tell nothing. */
static void look_at(graft_pace *pace, const graft_program *program, const graft_call *call) {
  if (pace->program == program && pace->batch == call->batch &&
      pace->first_step == call->first_step && pace->end_step == call->end_step) {
    return;
  }
  pace->program = program;
  pace->batch = call->batch;
  pace->first_step = call->first_step;
  pace->end_step = call->end_step;
  pace->together = pace->alone = 0;
}

bool graft_pace_is_alone(graft_pace *pace, const graft_program *program, const graft_call *call) {
  look_at(pace, program, call);
  if (pace->rest > 0) {
    pace->rest--;
    return pace->is_alone;
  }
  /* Alone, it is time to try all threads; together, one thread, if waits were long. */
  return pace->is_alone ? pace->alone == 0 : pace->is_slow && pace->together > 0;
}

static void wait_before_next_try(graft_pace *pace, bool was_confirmed) {
  const uint32_t longer = was_confirmed ? pace->patience * 2 : 0;
  pace->patience = longer < FIRST_PATIENCE  ? FIRST_PATIENCE
                   : longer > MOST_PATIENCE ? MOST_PATIENCE
                                            : longer;
  pace->rest = pace->patience;
}

void graft_pace_learn(graft_pace *pace, bool was_alone, uint64_t nanoseconds, uint32_t long_waits) {
  const uint32_t steps = pace->end_step - pace->first_step;
  if (was_alone) {
    pace->alone = nanoseconds;
    if (pace->is_alone) return;
    /* One thread was tried. */
    pace->is_alone = nanoseconds <= pace->together;
    wait_before_next_try(pace, !pace->is_alone);
    return;
  }
  pace->together = nanoseconds;
  pace->is_slow = long_waits >= FEWEST_LONG_WAITS && long_waits >= steps / STEPS_A_LONG_WAIT;
  if (!pace->is_alone) return;
  /* All threads were tried again. */
  pace->is_alone = pace->alone == 0 || nanoseconds > pace->alone;
  wait_before_next_try(pace, pace->is_alone);
}
