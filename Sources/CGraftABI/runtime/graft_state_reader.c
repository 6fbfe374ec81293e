/* Loads a run of training. Trusts nothing of the file: the header is bounded by the file, names,
 * element types, shapes and places must be exactly those expected, and the sum over the data must
 * come out. The caller keeps its state until all of it did.
 */
#define _GNU_SOURCE
#include "graft_training.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct contents {
  uint64_t counters[GRAFT_COUNTERS];
  bool has_counter[GRAFT_COUNTERS];
  bool has_format, has_sum;
  uint64_t sum;
  const char *note;
  uint64_t *offsets; /* where each state begins in the data; UINT64_MAX: not seen yet */
  uint64_t data_bytes;
} contents;

static bool read_metadata_entry(
    graft_json *json, const char *key, const char *value, contents *contents) {
  const char *at = value, *end = value + strlen(value);
  if (strcmp(key, GRAFT_FORMAT_KEY) == 0) {
    contents->has_format = true;
    return strcmp(value, GRAFT_STATE_FORMAT) == 0 ||
           graft_json_refuse(json, "it is of another version than " GRAFT_STATE_FORMAT);
  }
  if (strcmp(key, GRAFT_NOTE_KEY) == 0) contents->note = value;
  if (strcmp(key, GRAFT_SUM_KEY) == 0) {
    contents->has_sum = true;
    if (end - value != 16 || strspn(value, "0123456789abcdef") != 16) {
      return graft_json_refuse(json, "its checksum is not 16 hexadecimal digits");
    }
    contents->sum = strtoull(value, NULL, 16);
  }
  for (int i = 0; i < GRAFT_COUNTERS; i++) {
    if (strcmp(key, graft_counter_keys[i]) != 0) continue;
    contents->has_counter[i] = true;
    if (!graft_json_digits(&at, end, &contents->counters[i]) || at != end) {
      return graft_json_refuse(json, "a counter in its header is no number");
    }
  }
  return true; /* keys of others are theirs */
}

static bool read_metadata(graft_json *json, contents *contents) {
  if (!graft_json_expect(json, '{')) return false;
  if (graft_json_take(json, '}')) return true;
  do {
    char *key, *value;
    if (!graft_json_string(json, &key) || !graft_json_expect(json, ':') ||
        !graft_json_string(json, &value) || !read_metadata_entry(json, key, value, contents)) {
      return false;
    }
  } while (graft_json_take(json, ','));
  return graft_json_expect(json, '}');
}

static bool read_shape(graft_json *json, const graft_tensor *tensor) {
  static const char *const other = "it has another shape than expected";
  uint32_t axis = 0;
  if (!graft_json_expect(json, '[')) return false;
  if (!graft_json_take(json, ']')) {
    do {
      uint64_t extent;
      if (!graft_json_number(json, &extent)) return false;
      if (axis >= tensor->rank || extent != (uint64_t)tensor->extents[axis].base) {
        return graft_json_refuse(json, other);
      }
      axis++;
    } while (graft_json_take(json, ','));
    if (!graft_json_expect(json, ']')) return false;
  }
  return axis == tensor->rank || graft_json_refuse(json, other);
}

static bool read_offsets(graft_json *json, uint64_t bytes, uint64_t data_bytes, uint64_t *begin) {
  uint64_t end;
  if (!graft_json_expect(json, '[') || !graft_json_number(json, begin) ||
      !graft_json_expect(json, ',') || !graft_json_number(json, &end) ||
      !graft_json_expect(json, ']')) {
    return false;
  }
  return (*begin <= end && end - *begin == bytes && end <= data_bytes) ||
         graft_json_refuse(json, "it lies outside of the file, or has another size than expected");
}

/* {"dtype": …, "shape": […], "data_offsets": [begin, end]}, each key once, in any order. */
static bool read_tensor(
    graft_json *json, const graft_tensor *tensor, uint64_t data_bytes, uint64_t *begin) {
  bool has_dtype = false, has_shape = false, has_offsets = false;
  if (!graft_json_expect(json, '{')) return false;
  do {
    char *key, *dtype;
    if (!graft_json_string(json, &key) || !graft_json_expect(json, ':')) return false;
    if (strcmp(key, "dtype") == 0 && !has_dtype) {
      has_dtype = true;
      if (!graft_json_string(json, &dtype)) return false;
      if (strcmp(dtype, graft_dtype_name(tensor->dtype)) != 0) {
        return graft_json_refuse(json, "it has another element type than expected");
      }
    } else if (strcmp(key, "shape") == 0 && !has_shape) {
      has_shape = true;
      if (!read_shape(json, tensor)) return false;
    } else if (strcmp(key, "data_offsets") == 0 && !has_offsets) {
      has_offsets = true;
      if (!read_offsets(json, graft_tensor_bytes(tensor, 1), data_bytes, begin)) return false;
    } else {
      return graft_json_refuse(json, "it is described by other keys than expected");
    }
  } while (graft_json_take(json, ','));
  if (!graft_json_expect(json, '}')) return false;
  return (has_dtype && has_shape && has_offsets) ||
         graft_json_refuse(json, "it is described in part only");
}

/* The index of the state with this name; looks at `hint` first, for files are mostly in order. */
static uint32_t find_state(
    const graft_training_description *description, const char *name, uint32_t hint) {
  const uint32_t count = description->state_count;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t index = (uint32_t)(((uint64_t)hint + i) % count);
    if (strcmp(description->states[index].tensor.name, name) == 0) return index;
  }
  return count;
}

/* The whole header. On failure `culprit` names the tensor at fault, if it is one's. */
static bool read_header(
    graft_json *json, const graft_training_description *description, contents *contents,
    const char **culprit) {
  uint32_t hint = 0;
  bool has_metadata = false;
  if (!graft_json_expect(json, '{')) return false;
  do {
    char *name;
    if (!graft_json_string(json, &name) || !graft_json_expect(json, ':')) return false;
    if (strcmp(name, "__metadata__") == 0) {
      if (has_metadata) return graft_json_refuse(json, "it has metadata twice");
      has_metadata = true;
      if (!read_metadata(json, contents)) return false;
      continue;
    }
    *culprit = name;
    const uint32_t index = find_state(description, name, hint);
    if (index == description->state_count) {
      return graft_json_refuse(json, "the network has no such tensor to train");
    }
    if (contents->offsets[index] != UINT64_MAX) return graft_json_refuse(json, "it is there twice");
    if (!read_tensor(json, &description->states[index].tensor, contents->data_bytes,
                     &contents->offsets[index])) {
      return false;
    }
    *culprit = NULL;
    hint = index + 1;
  } while (graft_json_take(json, ','));
  if (!graft_json_expect(json, '}')) return false;
  graft_json_skip_spaces(json);
  return json->at == json->end || graft_json_refuse(json, "its header goes on after its end");
}

typedef struct span {
  uint64_t begin, bytes;
} span;

static int compare_spans(const void *left, const void *right) {
  const span *a = left, *b = right;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* Whether the tensors fill the data, without holes and without sharing a byte. */
static bool fill_data(
    const graft_training_description *description, const contents *contents, bool *filled) {
  const uint32_t count = description->state_count;
  span *spans = malloc(((size_t)count + 1) * sizeof *spans);
  if (!spans) return false;
  for (uint32_t i = 0; i < count; i++) {
    spans[i].begin = contents->offsets[i];
    spans[i].bytes = graft_tensor_bytes(&description->states[i].tensor, 1);
  }
  qsort(spans, count, sizeof *spans, compare_spans);
  uint64_t next = 0;
  *filled = true;
  for (uint32_t i = 0; i < count; i++) {
    if (spans[i].begin != next) *filled = false;
    next = spans[i].begin + spans[i].bytes;
  }
  if (next != contents->data_bytes) *filled = false;
  free(spans);
  return true;
}

static graft_status bad_state(
    const char *path, const char *culprit, const char *problem, char *message,
    size_t message_bytes) {
  return graft_fail(GRAFT_BAD_STATE, message, message_bytes,
                    "%.200s is no state of this training%s%.100s%s: %s", path,
                    culprit ? ", tensor \"" : "", culprit ? culprit : "", culprit ? "\"" : "",
                    problem);
}

static graft_status check_contents(
    const graft_training_description *description, const contents *contents, const char *path,
    char *message, size_t message_bytes) {
  for (int i = 0; i < GRAFT_COUNTERS; i++) {
    if (!contents->has_counter[i]) {
      return bad_state(path, NULL, "its metadata lack the counters of a run", message,
                       message_bytes);
    }
  }
  if (!contents->has_format || !contents->has_sum ||
      contents->counters[GRAFT_MICRO_BATCHES] > UINT32_MAX) {
    return bad_state(path, NULL, "its metadata are not those that save writes", message,
                     message_bytes);
  }
  for (uint32_t i = 0; i < description->state_count; i++) {
    if (contents->offsets[i] == UINT64_MAX) {
      return bad_state(path, description->states[i].tensor.name, "it is missing", message,
                       message_bytes);
    }
  }
  bool filled;
  if (!fill_data(description, contents, &filled)) {
    return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  }
  return filled ? GRAFT_OK
                : bad_state(path, NULL, "its tensors leave holes, or share bytes", message,
                            message_bytes);
}

static graft_status read_data(
    graft_training_state *state, const graft_training_description *description, int file,
    uint64_t data_offset, const contents *contents, const char *path, char *message,
    size_t message_bytes) {
  for (uint32_t i = 0; i < description->state_count; i++) {
    const uint64_t bytes = graft_tensor_bytes(&description->states[i].tensor, 1);
    if (!graft_read_fully(file, state->buffers[i], bytes, data_offset + contents->offsets[i])) {
      return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot read %s: %s", path,
                        errno ? strerror(errno) : "the file ends early");
    }
  }
  if (graft_state_sum(state, description) != contents->sum) {
    return bad_state(path, NULL, "its data are damaged: the checksum differs", message,
                     message_bytes);
  }
  state->seed = contents->counters[GRAFT_SEED];
  state->updates = contents->counters[GRAFT_UPDATES];
  state->steps = contents->counters[GRAFT_STEPS];
  state->open_micro_batches = (uint32_t)contents->counters[GRAFT_MICRO_BATCHES];
  return GRAFT_OK;
}

/* All behind the length of the header, for which there is room at `header`. */
static graft_status load_with_header(
    graft_training_state *state, const graft_training_description *description, int file,
    char *header, uint64_t header_bytes, contents *contents, const char *path, char *message,
    size_t message_bytes) {
  if (!graft_read_fully(file, header, header_bytes, 8)) {
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot read %s: %s", path,
                      errno ? strerror(errno) : "the file ends early");
  }
  for (uint32_t i = 0; i < description->state_count; i++) contents->offsets[i] = UINT64_MAX;
  graft_json json = {header, header + header_bytes, NULL};
  const char *culprit = NULL;
  if (!read_header(&json, description, contents, &culprit)) {
    return bad_state(path, culprit, json.problem, message, message_bytes);
  }
  const graft_status status =
      check_contents(description, contents, path, message, message_bytes);
  if (status != GRAFT_OK) return status;
  return read_data(state, description, file, 8 + header_bytes, contents, path, message,
                   message_bytes);
}

static graft_status load_from(
    graft_training_state *state, const graft_training_description *description, int file,
    const char *path, char *note, size_t note_bytes, char *message, size_t message_bytes) {
  struct stat status;
  unsigned char length[8];
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "%s is not a regular file", path);
  }
  const uint64_t file_bytes = (uint64_t)status.st_size;
  if (file_bytes < 8 || !graft_read_fully(file, length, 8, 0)) {
    return bad_state(path, NULL, "it is shorter than the length of its header", message,
                     message_bytes);
  }
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | length[i];
  if (header_bytes > GRAFT_LARGEST_HEADER || header_bytes > file_bytes - 8) {
    return bad_state(path, NULL, "its header is longer than the file, or than 100 MB", message,
                     message_bytes);
  }
  contents contents = {.data_bytes = file_bytes - 8 - header_bytes};
  char *header = malloc((size_t)header_bytes + 1);
  contents.offsets = malloc(((size_t)description->state_count + 1) * sizeof(uint64_t));
  graft_status result;
  if (!header || !contents.offsets) {
    result = graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  } else {
    result = load_with_header(state, description, file, header, header_bytes, &contents, path,
                              message, message_bytes);
  }
  if (result == GRAFT_OK && note && note_bytes > 0) {
    snprintf(note, note_bytes, "%s", contents.note ? contents.note : "");
  }
  free(header);
  free(contents.offsets);
  return result;
}

graft_status graft_load_state(
    graft_training_state *state, const graft_training_description *description,
    const char *path, char *note, size_t note_bytes, char *message, size_t message_bytes) {
  if (!path || !*path) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "there is no path to read from");
  }
  /* A pipe must not keep the caller waiting. */
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot open %s: %s", path,
                      strerror(errno));
  }
  const graft_status status =
      load_from(state, description, file, path, note, note_bytes, message, message_bytes);
  close(file);
  return status;
}
