/* A training program written by hand, small enough to be followed by eye: images of 3 numbers,
 * scaled by frozen constants, times a weight, plus a bias, to 2 classes. Softmax cross-entropy; the
 * weight learns by SGD with momentum, the bias by Adam; gradients are accumulated and clipped.
 * tools/make-training-fixture has the same in PyTorch.
 */
#include "graft_runtime.h"
#include "graft_train.h"

#include <math.h>

enum { CHANNELS = 3, CLASSES = 2 };
enum { WEIGHT, BIAS, MOMENTUM, FIRST, SECOND, WEIGHT_SUM, BIAS_SUM, MEAN, PROBE, STATES };

static float *state(const graft_frame *frame, int index) { return frame->state[index]; }

static void logits_of(const graft_frame *frame, size_t image, const float *x, float *logits) {
  const float *scale = (const float *)(const void *)frame->weights;
  for (int c = 0; c < CLASSES; c++) {
    float sum = state(frame, BIAS)[c];
    for (int i = 0; i < CHANNELS; i++) {
      sum += state(frame, WEIGHT)[c * CHANNELS + i] * x[image * CHANNELS + (size_t)i] * scale[i];
    }
    logits[image * CLASSES + (size_t)c] = sum;
  }
}

/* The gradient of the logits stands at offset 0 of the arena. */
static float *residual(const graft_frame *frame) { return (float *)(void *)frame->arena; }

static void forward(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const float *targets = frame->inputs[1];
  float *losses = frame->outputs[0], *logits = frame->outputs[1];
  for (size_t n = begin; n < end; n++) {
    logits_of(frame, n, frame->inputs[0], logits);
    const float *z = logits + n * CLASSES, *t = targets + n * CLASSES;
    const float largest = z[0] > z[1] ? z[0] : z[1];
    const float sum = expf(z[0] - largest) + expf(z[1] - largest);
    losses[n] = (t[0] + t[1]) * (largest + logf(sum)) - t[0] * z[0] - t[1] * z[1];
    for (int c = 0; c < CLASSES; c++) {
      residual(frame)[n * CLASSES + (size_t)c] = expf(z[c] - largest) / sum * (t[0] + t[1]) - t[c];
    }
  }
}

/* A unit is a class. */
static void gradients(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const float *x = frame->inputs[0], keep = ((const float *)frame->inputs[3])[1];
  const float *scale = (const float *)(const void *)frame->weights;
  for (size_t c = begin; c < end; c++) {
    float sums[CHANNELS + 1] = {0};
    for (size_t n = 0; n < frame->batch; n++) {
      const float dz = residual(frame)[n * CLASSES + c];
      for (size_t i = 0; i < CHANNELS; i++) sums[i] += dz * x[n * CHANNELS + i] * scale[i];
      sums[CHANNELS] += dz;
    }
    for (size_t i = 0; i < CHANNELS; i++) {
      float *sum = state(frame, WEIGHT_SUM) + c * CHANNELS + i;
      *sum = *sum * keep + sums[i];
    }
    float *sum = state(frame, BIAS_SUM) + c;
    *sum = *sum * keep + sums[CHANNELS];
  }
}

/* The running mean, and what the test wants to know of the frame: random[0 ... 2], temperature, and
 * how many states begin off a line of 64 bytes or have something behind their last element. */
static void statistics(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)begin, (void)end, (void)scratch;
  static const int elements[STATES] = {6, 2, 6, 2, 2, 6, 2, 3, 5};
  const float *x = frame->inputs[0];
  for (size_t i = 0; i < CHANNELS; i++) {
    float sum = 0;
    for (size_t n = 0; n < frame->batch; n++) sum += x[n * CHANNELS + i];
    state(frame, MEAN)[i] = 0.9f * state(frame, MEAN)[i] + 0.1f * sum / (float)frame->batch;
  }
  const int32_t *random = frame->inputs[4];
  int wrong = 0;
  for (int s = 0; s < STATES; s++) {
    wrong += (uintptr_t)frame->state[s] % 64 != 0;
    for (int i = elements[s]; i < 16; i++) wrong += state(frame, s)[i] != 0;
  }
  for (int i = 0; i < 3; i++) state(frame, PROBE)[i] = (float)random[i];
  state(frame, PROBE)[3] = ((const float *)frame->inputs[3])[2];
  state(frame, PROBE)[4] = (float)wrong;
}

/* The update begins here: the factor by which gradients are clipped goes to the fixed region. */
static void clip(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)begin, (void)end, (void)scratch;
  float squares = 0;
  const float *weight = state(frame, WEIGHT_SUM), *bias = state(frame, BIAS_SUM);
  for (int i = 0; i < CLASSES * CHANNELS; i++) squares += weight[i] * weight[i];
  for (int i = 0; i < CLASSES; i++) squares += bias[i] * bias[i];
  const float limit = ((const float *)frame->inputs[3])[0] / (sqrtf(squares) + 1e-6f);
  *(float *)(void *)frame->fixed = limit < 1 ? limit : 1;
}

/* A unit is a class. */
static void update(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const float *sgd = frame->inputs[2], *adam = sgd + 8;
  const float factor = *(const float *)(const void *)frame->fixed;
  for (size_t i = begin * CHANNELS; i < end * CHANNELS; i++) {
    float *w = state(frame, WEIGHT) + i, *m = state(frame, MOMENTUM) + i;
    *m = sgd[1] * *m + (state(frame, WEIGHT_SUM)[i] * factor + sgd[2] * *w);
    *w -= sgd[0] * *m;
  }
  for (size_t c = begin; c < end; c++) {
    const float g = state(frame, BIAS_SUM)[c] * factor;
    float *m = state(frame, FIRST) + c, *v = state(frame, SECOND) + c;
    *m = adam[3] * *m + (1 - adam[3]) * g;
    *v = adam[4] * *v + (1 - adam[4]) * g * g;
    state(frame, BIAS)[c] -= adam[0] * (*m / adam[6]) / (sqrtf(*v / adam[7]) + adam[5]);
  }
}

static void evaluate(const graft_frame *frame, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  for (size_t n = begin; n < end; n++) {
    logits_of(frame, n, frame->inputs[0], frame->outputs[0]);
  }
}

#define F32(name, rank, ...) {name, GRAFT_FLOAT32, rank, {__VA_ARGS__}, 0}
#define WEIGHT_OF(name, group, offset, rank, ...) \
  {F32(name, rank, __VA_ARGS__), GRAFT_STATE_WEIGHT, group, offset}
#define OTHER(name, role, offset, rank, ...) \
  {F32(name, rank, __VA_ARGS__), GRAFT_STATE_##role, GRAFT_NO_GROUP, offset}

/* The running mean's name needs escapes in JSON. */
static const graft_state states[STATES] = {
    WEIGHT_OF("weight", 0, 64, 2, {0, 2}, {0, 3}),
    WEIGHT_OF("bias", 1, GRAFT_ZEROS, 1, {0, 2}),
    OTHER("weight/momentum", OPTIMIZER, GRAFT_ZEROS, 2, {0, 2}, {0, 3}),
    OTHER("bias/momentum", OPTIMIZER, GRAFT_ZEROS, 1, {0, 2}),
    OTHER("bias/second_moment", OPTIMIZER, GRAFT_ZEROS, 1, {0, 2}),
    OTHER("weight/gradient", ACCUMULATOR, GRAFT_ZEROS, 2, {0, 2}, {0, 3}),
    OTHER("bias/gradient", ACCUMULATOR, GRAFT_ZEROS, 1, {0, 2}),
    OTHER("mean \"of\" \\x\n\t\xc3\xa9", STATISTIC, 128, 1, {0, 3}),
    OTHER("probe", STATISTIC, GRAFT_ZEROS, 1, {0, 5}),
};

static const graft_tensor inputs[] = {
    F32("x", 2, {1, 0}, {0, 3}),
    F32("targets", 2, {1, 0}, {0, 2}),
    F32("hyperparameters", 2, {0, 2}, {0, 8}),
    F32("settings", 1, {0, 8}),
    {"random", GRAFT_INT32, 1, {{0, 4}}, 0},
};
static const graft_tensor outputs[] = {
    F32("loss", 1, {1, 0}), F32("logits", 2, {1, 0}, {0, 2})};
static const graft_tensor values[] = {
    F32("residual", 2, {1, 0}, {0, 2}), {"weight", GRAFT_FLOAT32, 2, {{0, 2}, {0, 3}}, 4}};
static const graft_place places[] = {
    {GRAFT_IN_ARENA, 1, 0, 0, 0}, {GRAFT_IN_STATE, 1, 0, 0, WEIGHT}};

static const char *const step_names[] = {"forward", "gradients", "statistics", "clip", "update"};
static const graft_step steps[] = {{forward, 1, 0}, {gradients, 0, CLASSES}, {statistics, 0, 1},
                                   {clip, 0, 1},    {update, 0, CLASSES}};
static const graft_step evaluation_steps[] = {{evaluate, 1, 0}};

#define COMMON                                                                              \
  .abi_version = GRAFT_ABI_VERSION, .target = "any", .required_features = "",               \
  .compiler = __VERSION__, .build_id = {7, 7, 7}, .packed_bytes = 64 + 192, .has_batch = 1, \
  .inputs = inputs

static const graft_description step_description = {
    COMMON, .input_count = 5, .output_count = 2, .outputs = outputs, .value_count = 2,
    .values = values, .step_count = 5, .step_names = step_names,
    .arena_bytes_per_image = CLASSES * sizeof(float), .arena_bytes_fixed = 64};
static const graft_description evaluation_description = {
    COMMON, .input_count = 1, .output_count = 1, .outputs = outputs + 1, .step_count = 1,
    .step_names = step_names};

#define OVER_STATES .states = states, .state_count = STATES, .constant_bytes = 64

const graft_program graft_program_of_training = {
    OVER_STATES, .description = &step_description, .steps = steps, .places = places,
    .update_first_step = 3};
const graft_program graft_program_of_evaluation = {
    OVER_STATES, .description = &evaluation_description, .steps = evaluation_steps,
    .update_first_step = 1};

static const char *const group_names[] = {"head", "bias"};
const graft_training_description graft_description_of_training = {
    .abi_version = GRAFT_TRAINING_ABI_VERSION,
    .flags = GRAFT_TAKES_SETTINGS | GRAFT_TAKES_RANDOM,
    .step = &step_description,
    .evaluation = &evaluation_description,
    .step_input_count = 2,
    .state_count = STATES,
    .states = states,
    .group_count = 2,
    .group_names = group_names,
    .class_count = CLASSES,
};
