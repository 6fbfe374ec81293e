/* The trunk that stands before softmax_regression.c, written by hand: its inner value "x" is the
 * image times 2, its output the sum of it.
 */
#include "graft_runtime.h"

static void scale(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const float *from = frame->inputs[0];
  float *x = (float *)(void *)frame->arena;
  for (size_t i = begin * 3; i < end * 3; i++) x[i] = 2 * from[i];
}

static void add(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const float *x = (const float *)(const void *)frame->arena;
  float *sum = frame->outputs[0];
  for (size_t n = begin; n < end; n++) sum[n] = x[n * 3] + x[n * 3 + 1] + x[n * 3 + 2];
}

static const graft_tensor input = {"image", GRAFT_FLOAT32, 2, {{1, 0}, {0, 3}}, 0};
static const graft_tensor output = {"sum", GRAFT_FLOAT32, 1, {{1, 0}}, 1};
static const graft_tensor value = {"x", GRAFT_FLOAT32, 2, {{1, 0}, {0, 3}}, 0};
static const graft_place place = {GRAFT_IN_ARENA, 1, 0, 0, 0};
static const graft_step steps[] = {{scale, 1, 0}, {add, 1, 0}};
static const char *const step_names[] = {"scale", "add"};

static const graft_description description = {
    .abi_version = GRAFT_ABI_VERSION, .input_count = 1, .output_count = 1, .value_count = 1,
    .step_count = 2, .inputs = &input, .outputs = &output, .values = &value,
    .step_names = step_names, .target = "any", .required_features = "", .compiler = __VERSION__,
    .build_id = {5}, .packed_bytes = 64, .arena_bytes_per_image = 12, .has_batch = 1};

static const graft_program program = {
    .description = &description, .steps = steps, .places = &place};

GRAFT_MODEL_TABLE(table, program)

const graft_model_api *graft_model_program(uint32_t index) { return index == 0 ? &table : NULL; }
