/* Saves a run of training: one valid safetensors file, a tensor for each state in the order of
 * their index, the counters as strings in its __metadata__. It is written under a temporary name,
 * synced, then renamed, so that what stands at the path is the old file or the new one.
 */
#define _GNU_SOURCE
#include "graft_training.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const graft_counter_keys[GRAFT_COUNTERS] = {
    "graft.seed", "graft.updates", "graft.steps", "graft.open_micro_batches"};

const char *graft_dtype_name(graft_dtype dtype) {
  switch (dtype) {
    case GRAFT_FLOAT32: return "F32";
    case GRAFT_FLOAT16: return "F16";
    case GRAFT_BFLOAT16: return "BF16";
    case GRAFT_FLOAT64: return "F64";
    case GRAFT_INT8: return "I8";
    case GRAFT_UINT8: return "U8";
    case GRAFT_INT16: return "I16";
    case GRAFT_UINT16: return "U16";
    case GRAFT_INT32: return "I32";
    case GRAFT_UINT32: return "U32";
    case GRAFT_INT64: return "I64";
    case GRAFT_UINT64: return "U64";
    case GRAFT_BOOL: return "BOOL";
  }
  return "";
}

/* The two sums. */
typedef struct fletcher {
  uint64_t first, second;
} fletcher;

static void add_words(fletcher *sum, const unsigned char *data, uint64_t bytes) {
  const uint64_t words = (bytes + 3) / 4;
  for (uint64_t i = 0; i < words;) {
    /* Neither sum overflows within so many words. */
    const uint64_t end = words - i < 4096 ? words : i + 4096;
    for (; i < end; i++) {
      uint32_t word;
      memcpy(&word, data + i * 4, sizeof word);
      sum->first += word;
      sum->second += sum->first;
    }
    sum->first %= UINT32_MAX;
    sum->second %= UINT32_MAX;
  }
}

uint64_t graft_state_sum(
    const graft_training_state *state, const graft_training_description *description) {
  fletcher sum = {0, 0};
  for (uint32_t i = 0; i < description->state_count; i++) {
    add_words(&sum, state->buffers[i], graft_tensor_bytes(&description->states[i].tensor, 1));
  }
  return sum.second << 32 | sum.first;
}

/* Text that grows; once memory ran out it stays as it is, and says so. */
typedef struct text {
  char *data;
  size_t length, capacity;
  bool failed;
} text;

static void append(text *text, const char *data, size_t length) {
  if (text->failed) return;
  if (length > text->capacity - text->length) {
    const size_t capacity = (text->length + length) * 2 + 256;
    char *grown = realloc(text->data, capacity);
    if (!grown) {
      text->failed = true;
      return;
    }
    text->data = grown;
    text->capacity = capacity;
  }
  memcpy(text->data + text->length, data, length);
  text->length += length;
}

__attribute__((format(printf, 2, 3))) static void append_format(
    text *text, const char *format, ...) {
  char piece[128]; /* numbers and dtypes only: they fit */
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (length > 0) append(text, piece, (size_t)length);
}

static void append_string(text *text, const char *string) {
  append(text, "\"", 1);
  for (; *string; string++) {
    const unsigned char byte = (unsigned char)*string;
    if (byte < 0x20) {
      append_format(text, "\\u%04x", byte);
    } else {
      if (byte == '"' || byte == '\\') append(text, "\\", 1);
      append(text, string, 1);
    }
  }
  append(text, "\"", 1);
}

static void list_counters(const graft_training_state *state, uint64_t counters[GRAFT_COUNTERS]) {
  counters[GRAFT_SEED] = state->seed;
  counters[GRAFT_UPDATES] = state->updates;
  counters[GRAFT_STEPS] = state->steps;
  counters[GRAFT_MICRO_BATCHES] = state->open_micro_batches;
}

/* The length of the header, then the header, filled up with spaces to whole words of 8 bytes. */
static text make_header(
    const graft_training_state *state, const graft_training_description *description,
    const char *note) {
  text header = {NULL, 0, 0, false};
  append(&header, "\0\0\0\0\0\0\0\0", 8);
  append(&header, "{\"__metadata__\":{", 17);
  append_string(&header, GRAFT_FORMAT_KEY);
  append_format(&header, ":\"" GRAFT_STATE_FORMAT "\",");
  uint64_t counters[GRAFT_COUNTERS];
  list_counters(state, counters);
  for (int i = 0; i < GRAFT_COUNTERS; i++) {
    append_string(&header, graft_counter_keys[i]);
    append_format(&header, ":\"%llu\",", (unsigned long long)counters[i]);
  }
  append_string(&header, GRAFT_SUM_KEY);
  append_format(&header, ":\"%016llx\"", (unsigned long long)graft_state_sum(state, description));
  if (note) {
    append(&header, ",", 1);
    append_string(&header, GRAFT_NOTE_KEY);
    append(&header, ":", 1);
    append_string(&header, note);
  }
  append(&header, "}", 1);
  uint64_t offset = 0;
  for (uint32_t i = 0; i < description->state_count; i++) {
    const graft_tensor *tensor = &description->states[i].tensor;
    append(&header, ",", 1);
    append_string(&header, tensor->name);
    append_format(&header, ":{\"dtype\":\"%s\",\"shape\":[", graft_dtype_name(tensor->dtype));
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
      append_format(&header, "%s%lld", axis > 0 ? "," : "", (long long)tensor->extents[axis].base);
    }
    const uint64_t end = offset + graft_tensor_bytes(tensor, 1);
    append_format(&header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                  (unsigned long long)end);
    offset = end;
  }
  append(&header, "}", 1);
  while (!header.failed && header.length % 8 != 0) append(&header, " ", 1);
  for (int i = 0; i < 8 && !header.failed; i++) {
    header.data[i] = (char)((header.length - 8) >> (8 * i));
  }
  return header;
}

static bool write_fully(int file, const void *data, uint64_t bytes) {
  const unsigned char *next = data;
  while (bytes > 0) {
    const ssize_t count = write(file, next, bytes < (1u << 30) ? (size_t)bytes : (1u << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    next += count;
    bytes -= (uint64_t)count;
  }
  return true;
}

static bool write_all(
    int file, const text *header, const graft_training_state *state,
    const graft_training_description *description) {
  if (!write_fully(file, header->data, header->length)) return false;
  for (uint32_t i = 0; i < description->state_count; i++) {
    const uint64_t bytes = graft_tensor_bytes(&description->states[i].tensor, 1);
    if (!write_fully(file, state->buffers[i], bytes)) return false;
  }
  return fsync(file) == 0;
}

/* Opens a new file beside `path`; its name goes to `temporary`, 48 bytes longer than the path. */
static int open_beside(const char *path, char *temporary, size_t bytes) {
  int file = -1;
  for (unsigned attempt = 0; attempt < 1000; attempt++) {
    snprintf(temporary, bytes, "%s.%ld-%u.partial", path, (long)getpid(), attempt);
    file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 || errno != EEXIST) break;
  }
  return file;
}

/* Makes the rename last. Not every file system lets a folder be synced: the file itself is. */
static void sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
  const int file = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  free(folder);
  if (file < 0) return;
  (void)fsync(file);
  close(file);
}

static graft_status write_to(
    const char *path, const text *header, const graft_training_state *state,
    const graft_training_description *description, char *message, size_t message_bytes) {
  const size_t temporary_bytes = strlen(path) + 48;
  char *temporary = malloc(temporary_bytes);
  if (!temporary) return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  const int file = open_beside(path, temporary, temporary_bytes);
  int reason = file < 0 ? errno : 0;
  if (file >= 0) {
    if (!write_all(file, header, state, description)) reason = errno ? errno : EIO;
    if (close(file) != 0 && reason == 0) reason = errno;
    if (reason == 0 && rename(temporary, path) != 0) reason = errno;
    if (reason != 0) unlink(temporary);
  }
  free(temporary);
  if (reason != 0) {
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot write %s: %s", path,
                      strerror(reason));
  }
  sync_folder(path);
  return GRAFT_OK;
}

graft_status graft_save_state(
    const graft_training_state *state, const graft_training_description *description,
    const char *path, const char *note, char *message, size_t message_bytes) {
  if (!path || !*path || (note && strnlen(note, GRAFT_NOTE_BYTES + 1) > GRAFT_NOTE_BYTES)) {
    return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                      "there is no path to write to, or the note is longer than %u bytes",
                      GRAFT_NOTE_BYTES);
  }
  text header = make_header(state, description, note);
  graft_status status;
  if (header.failed || header.length - 8 > GRAFT_LARGEST_HEADER) {
    status = graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                        "no memory for the header of %s, or it is longer than %u bytes", path,
                        GRAFT_LARGEST_HEADER);
  } else {
    status = write_to(path, &header, state, description, message, message_bytes);
  }
  free(header.data);
  return status;
}
