/* usage: exercise_training FOLDER
 * Goes through the table of FOLDER/libtrain.so, made of softmax_regression.c, and hands its loader
 * a saved state in thousands of damaged forms. To be built with sanitizers: says nothing and ends
 * with 0 where all is well.
 */
#define _GNU_SOURCE
#include "graft_train.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char message[512], folder[2048];
static const graft_training_api *api;

#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      fprintf(stderr, "%s:%d: not %s: %s\n", __FILE__, __LINE__, #condition, message);        \
      exit(1);                                                                                \
    }                                                                                         \
  } while (0)
#define GOOD(call) CHECK((call) == GRAFT_OK)
#define MESSAGE message, sizeof message

static const char *path(const char *name) {
  static char paths[2][4096];
  static int next;
  char *to = paths[next++ % 2];
  snprintf(to, sizeof paths[0], "%s/%s", folder, name);
  return to;
}

static graft_training_session *open_session(uint32_t threads, graft_parallel_for *parallel_for,
                                            void *context) {
  const graft_options options = {.struct_bytes = sizeof options, .bundle_path = folder,
                                 .largest_batch = 5, .threads = threads,
                                 .parallel_for = parallel_for, .parallel_context = context};
  graft_training_session *session = NULL;
  GOOD(api->create(&options, 11, &session, MESSAGE));
  return session;
}

static graft_status try_step(
    graft_training_session *session, uint64_t batch, uint32_t flags) {
  static const float x[15] = {1, -2, 3, 0.5f, 0.25f, -1, 2, 2, 1, -3, 1, 0, 1, 1, -1};
  static const float targets[10] = {0, 0.2f, 0.2f, 0, 0.1f, 0.1f, 0, 0.2f, 0.2f, 0};
  const void *const inputs[] = {x, targets};
  const uint64_t bytes[] = {batch * 12, batch * 8};
  const graft_hyperparameters groups[2] = {
      {.learning_rate = 0.1f, .momentum = 0.9f},
      {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f}};
  float residual[10], loss[5], logits[10];
  const graft_tap tap = {.value = 0, .data = residual, .bytes = batch * 8};
  const graft_training_step step = {
      .struct_bytes = sizeof step, .flags = flags, .batch = batch, .inputs = inputs,
      .input_bytes = bytes, .hyperparameters = groups, .hyperparameter_count = 2,
      .clip_norm = 1, .tap_count = 1, .taps = &tap, .loss = loss, .loss_bytes = batch * 4,
      .logits = logits, .logits_bytes = batch * 8};
  return api->step(session, &step, MESSAGE);
}

static void train(graft_training_session *session, uint64_t batch, uint32_t flags) {
  GOOD(try_step(session, batch, flags));
}

static unsigned char *read_file(const char *name, size_t *bytes) {
  FILE *file = fopen(path(name), "rb");
  CHECK(file);
  unsigned char *data = malloc(1 << 16);
  *bytes = fread(data, 1, 1 << 16, file);
  fclose(file);
  return data;
}

static graft_status load_bytes(
    graft_training_session *session, const unsigned char *data, size_t bytes) {
  remove(path("damaged")); /* file systems flush what is written over another file */
  FILE *file = fopen(path("damaged"), "wb");
  CHECK(file && fwrite(data, 1, bytes, file) == bytes);
  fclose(file);
  char note[64];
  return api->load(session, path("damaged"), note, sizeof note, MESSAGE);
}

/* Cut off anywhere, the file is refused; with any byte of its data changed too; with a byte of its
 * header changed it is refused or, where that byte is in a counter or the note, legal. */
static void damage(graft_training_session *session) {
  size_t bytes, header = 0;
  unsigned char *data = read_file("state", &bytes);
  for (int i = 7; i >= 0; i--) header = header << 8 | data[i];
  CHECK(bytes > header + 8);
  for (size_t i = 0; i < bytes; i++) CHECK(load_bytes(session, data, i) == GRAFT_BAD_STATE);
  static const unsigned char others[] = {0, 1, '"', '\\', '0', '9', '{', '}', '[', ',', 'u', 255};
  size_t legal = 0;
  for (size_t i = 0; i < bytes; i++) {
    const unsigned char kept = data[i];
    for (size_t k = 0; k < sizeof others; k++) {
      data[i] = others[k];
      if (data[i] == kept) continue;
      const graft_status status = load_bytes(session, data, bytes);
      CHECK(status == GRAFT_BAD_STATE || (status == GRAFT_OK && i >= 8 && i < header + 8));
      legal += status == GRAFT_OK;
    }
    data[i] = kept;
  }
  CHECK(legal > 0 && legal < header);
  GOOD(load_bytes(session, data, bytes));
  free(data);
}

/* Runs the last task first, after it has seen that nobody else gets into the session meanwhile. */
static void backwards(
    void *context, void (*task)(void *argument, uint32_t index), void *argument, uint32_t count) {
  graft_training_session *session = *(graft_training_session **)context;
  CHECK(try_step(session, 1, 0) == GRAFT_BUSY);
  CHECK(api->save(session, path("busy"), NULL, MESSAGE) == GRAFT_BUSY);
  for (uint32_t i = count; i > 0; i--) task(argument, i - 1);
}

static void expect_same_file(const char *left, const char *right) {
  size_t bytes, other_bytes;
  unsigned char *data = read_file(left, &bytes), *other = read_file(right, &other_bytes);
  CHECK(bytes == other_bytes && memcmp(data, other, bytes) == 0);
  free(data);
  free(other);
}

/* Where the file cannot be written whole, the one that was there stays as it was. */
static void fail_to_save(graft_training_session *session) {
  GOOD(api->save(session, path("kept"), NULL, MESSAGE));
  GOOD(api->save(session, path("before"), NULL, MESSAGE));
  const pid_t child = fork();
  if (child == 0) {
    struct rlimit limit = {100, 100};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit(api->save(session, path("kept"), NULL, MESSAGE) == GRAFT_IO_ERROR ? 0 : 1);
  }
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  expect_same_file("kept", "before");
}

/* The threads of a session do not live on in a child. */
static void fork_away(graft_training_session *session) {
  const pid_t child = fork();
  if (child == 0) _exit(try_step(session, 1, 0) == GRAFT_THREAD_ERROR ? 0 : 1);
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int count, char **arguments) {
  if (count != 2) return 64;
  snprintf(folder, sizeof folder, "%s", arguments[1]);
  void *library = dlopen(path("libtrain.so"), RTLD_NOW | RTLD_LOCAL);
  graft_training_function *training = NULL;
  CHECK(library && (*(void **)&training = dlsym(library, "graft_training")));
  api = training();
  graft_training_session *one = open_session(1, NULL, NULL);
  graft_training_session *two = open_session(2, NULL, NULL), *three = NULL;
  three = open_session(3, backwards, &three);
  graft_training_session *const all[] = {one, two, three};
  for (int i = 0; i < 3; i++) {
    for (uint64_t batch = 5; batch > 0; batch--) train(all[i], batch, 0);
    train(all[i], 3, GRAFT_STEP_GOES_ON);
  }
  GOOD(api->save(one, path("state"), "a \"note\"\n\x01\xc3\xa9", MESSAGE));
  GOOD(api->save(two, path("state2"), "a \"note\"\n\x01\xc3\xa9", MESSAGE));
  GOOD(api->save(three, path("state3"), "a \"note\"\n\x01\xc3\xa9", MESSAGE));
  expect_same_file("state", "state2");
  expect_same_file("state", "state3");
  fail_to_save(two);
  fork_away(two);
  damage(two);
  GOOD(api->load(two, path("state2"), NULL, 0, MESSAGE));
  train(one, 2, GRAFT_STEP_CONTINUES);
  train(two, 2, GRAFT_STEP_CONTINUES);
  for (uint32_t i = 0; i < api->describe()->state_count; i++) {
    float left[6] = {0}, right[6] = {0};
    const graft_tensor *tensor = &api->describe()->states[i].tensor;
    uint64_t size = sizeof(float);
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
      size *= (uint64_t)tensor->extents[axis].base;
    }
    GOOD(api->read_state(one, i, left, size, MESSAGE));
    GOOD(api->read_state(two, i, right, size, MESSAGE));
    CHECK(memcmp(left, right, size) == 0);
    GOOD(api->write_state(two, i, left, size, MESSAGE));
    CHECK(api->write_state(two, i, left, size + 4, MESSAGE) == GRAFT_INVALID_ARGUMENT);
  }
  uint32_t *order = malloc(1000 * sizeof *order);
  GOOD(api->epoch_order(one, 3, 1000, order, MESSAGE));
  GOOD(api->epoch_order(one, 3, 0, NULL, MESSAGE));
  free(order);
  api->destroy(one);
  api->destroy(two);
  api->destroy(three);
  api->destroy(NULL);
  return dlclose(library);
}
