/* Fine-tunes a bundle of `graft compile --trainable` on what `graft preprocess` wrote, with nothing of Graft installed: SGD with
 * momentum 0.9, seed 0. OUT is a safetensors file. cc train_bundle.c -I BUNDLE -ldl -o train_bundle && ./train_bundle … */
#include "graft_train.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char message[512], path[4096];
static void stop(const char *text) { fprintf(stderr, "%s\n", text), exit(1); }
static void check(graft_status status) { if (status) stop(message); }
static const char *in(const char *folder, const char *file) { return snprintf(path, sizeof path, "%s/%s", folder, file), path; }
static void *symbol(const char *file, const char *name) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL), *found = library ? dlsym(library, name) : NULL;
  return found ? found : (stop(dlerror()), NULL);
}
static uint64_t bytes_of(const graft_tensor *value, uint64_t batch) {
  static const uint64_t sizes[] = {0, 4, 2, 2, 8, 1, 1, 4, 8, 1, 2, 2, 4, 8}; /* of a graft_dtype */
  uint64_t bytes = sizes[value->dtype];
  for (uint32_t i = 0; i < value->rank; i++) bytes *= (uint64_t)value->extents[i].scale * batch + (uint64_t)value->extents[i].base;
  return bytes;
}
static void *read_npy(const char *name, uint64_t row_bytes, uint64_t *rows) {
  char text[65536] = ""; FILE *file = fopen(name, "rb");
  const size_t length = file && fread(text, 1, 10, file) == 10 ? (uint8_t)text[8] + 256u * (uint8_t)text[9] : 0;
  const char *shape = length && fread(text, 1, length, file) == length ? strchr(text, '(') : NULL;
  void *data = calloc(*rows = shape ? strtoull(shape + 1, NULL, 10) : 0, row_bytes);
  if (!data || !*rows || fread(data, row_bytes, *rows, file) != *rows) stop("x.npy or y.npy is not as expected");
  return fclose(file), data;
}
int main(int count, char **a) {
  if (count != 8 || atoi(a[4]) < 1) stop("usage: train_bundle BUNDLE DATA EPOCHS BATCH RATE THREADS OUT");
  graft_model_function *model; *(void **)&model = symbol(in(a[1], "libmodel.so"), "graft_model");
  graft_training_function *training; *(void **)&training = symbol(in(a[1], "libtrain.so"), "graft_training");
  const graft_training_api *api = training(); const graft_training_description *net = api->describe();
  const graft_description *trunk = model()->describe(); const graft_tensor *cut = net->evaluation->inputs; uint64_t images, answers;
  const uint64_t image = bytes_of(trunk->inputs, 1), row = bytes_of(cut, 1), classes = net->class_count, most = strtoull(a[4], NULL, 10);
  char *x = read_npy(in(a[2], "x.npy"), image, &images), *rows = x; int64_t *y = read_npy(in(a[2], "y.npy"), 8, &answers);
  const uint64_t batch = most < images ? most : images, bytes = batch * image, out_bytes = bytes_of(trunk->outputs, batch);
  const graft_options options = {sizeof options, .bundle_path = a[1], .largest_batch = batch, .threads = (uint32_t)atoi(a[6])};
  graft_session *session; check(model()->create(&options, &session, message, sizeof message));
  graft_training_session *run; check(api->create(&options, 0, &run, message, sizeof message));
  graft_tap tap = {.bytes = batch * row}; /* the frozen trunk runs once, and a tap keeps what it gives for each image */
  while (tap.value < trunk->value_count && strcmp(trunk->values[tap.value].name, cut->name)) tap.value++;
  if (tap.value < trunk->value_count) rows = calloc(images, row);
  char *out = malloc(out_bytes), *chosen = calloc(batch, row); uint32_t *order = calloc(images, sizeof *order);
  float *targets = calloc(batch, classes * sizeof(float)), *loss = calloc(batch, sizeof(float)); graft_hyperparameters groups[256];
  if (!rows || !out || !chosen || !order || !targets || !loss || answers != images || net->step_input_count != 2 || net->group_count > 256)
    stop("no memory, another number of answers than images, or a kind of training that needs more inputs");
  for (uint64_t i = 0, last = images - batch; rows != x && i < images; i += batch) { /* whole batches, the last one moved back */
    const void *from = x + (i < last ? i : last) * image; tap.data = rows + (i < last ? i : last) * row;
    const graft_call call = {sizeof call, 0, trunk->step_count, 1, batch, &from, &bytes, (void *const *)&out, &out_bytes, &tap};
    check(model()->run(session, &call, message, sizeof message));
  }
  for (int g = 0; g < 256; g++) groups[g] = (graft_hyperparameters){strtof(a[5], NULL), 0.9f, 0, 0.9f, 0.999f, 1e-8f};
  for (uint64_t epoch = 0; epoch < strtoull(a[3], NULL, 10); epoch++) {
    check(api->epoch_order(run, epoch, (uint32_t)images, order, message, sizeof message));
    for (uint64_t i = 0, n; n = images - i < batch ? images - i : batch, n > 0; i += n) { /* the last batch may be smaller */
      for (uint64_t k = 0; k < n; k++) memcpy(chosen + k * row, rows + order[i + k] * row, row);
      for (uint64_t k = 0; k < n * classes; k++) targets[k] = y[order[i + k / classes]] == (int64_t)(k % classes) ? 1 / (float)n : 0;
      const void *const inputs[] = {chosen, targets}; const uint64_t sizes[] = {n * row, n * classes * sizeof(float)};
      check(api->step(run, &(graft_training_step){sizeof(graft_training_step), 0, n, inputs, sizes, groups, net->group_count,
          .loss = loss, .loss_bytes = n * sizeof(float)}, message, sizeof message));
      for (uint64_t k = 1; k < n; k++) loss[0] += loss[k];
    }
    printf("epoch %llu: loss of the last batch %.6f\n", (unsigned long long)epoch + 1, (double)loss[0]);
  }
  return check(api->save(run, a[7], NULL, message, sizeof message)), api->destroy(run), model()->destroy(session), 0;
}
