/* A reader of the JSON that safetensors headers are made of, over text in memory that it may write
 * to: strings are unescaped where they stand. What it does not know is refused with a reason.
 */
#include "graft_training.h"

#include <string.h>

bool graft_json_refuse(graft_json *json, const char *problem) {
  if (!json->problem) json->problem = problem;
  return false;
}

void graft_json_skip_spaces(graft_json *json) {
  while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' ||
                                  *json->at == '\t')) {
    json->at++;
  }
}

bool graft_json_take(graft_json *json, char expected) {
  graft_json_skip_spaces(json);
  if (json->at == json->end || *json->at != expected) return false;
  json->at++;
  return true;
}

bool graft_json_expect(graft_json *json, char expected) {
  return graft_json_take(json, expected) ||
         graft_json_refuse(json, "its header is not the JSON that it should be");
}

static bool read_hexadecimal(graft_json *json, uint32_t *code) {
  *code = 0;
  if (json->end - json->at < 4) return graft_json_refuse(json, "its header ends within a string");
  for (int i = 0; i < 4; i++) {
    const char digit = *json->at++;
    uint32_t value;
    if (digit >= '0' && digit <= '9') {
      value = (uint32_t)(digit - '0');
    } else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') {
      value = (uint32_t)((digit | 0x20) - 'a') + 10;
    } else {
      return graft_json_refuse(json, "a string of its header has a bad escape");
    }
    *code = *code << 4 | value;
  }
  return true;
}

/* One character after \u, with its second half where it has two; as UTF-8. */
static bool read_unicode(graft_json *json, char **to) {
  uint32_t code, low;
  if (!read_hexadecimal(json, &code)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') {
      return graft_json_refuse(json, "a string of its header has half a character");
    }
    json->at += 2;
    if (!read_hexadecimal(json, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) {
      return graft_json_refuse(json, "a string of its header has half a character");
    }
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code == 0 || (code >= 0xdc00 && code < 0xe000)) {
    return graft_json_refuse(json, "a string of its header has half a character, or a zero");
  }
  char *out = *to;
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  }
  *to = out;
  return true;
}

bool graft_json_string(graft_json *json, char **string) {
  static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  if (!graft_json_expect(json, '"')) return false;
  char *to = *string = json->at;
  while (json->at < json->end) {
    const char byte = *json->at++;
    if (byte == '"') {
      *to = 0;
      return true;
    }
    if ((unsigned char)byte < 0x20) {
      return graft_json_refuse(json, "its header has a control character");
    }
    if (byte != '\\') {
      *to++ = byte;
      continue;
    }
    if (json->at == json->end) break;
    const char escape = *json->at++;
    const char *known = escape ? strchr(escapes, escape) : NULL;
    if (known) {
      *to++ = meanings[known - escapes];
    } else if (escape != 'u') {
      return graft_json_refuse(json, "a string of its header has a bad escape");
    } else if (!read_unicode(json, &to)) {
      return false;
    }
  }
  return graft_json_refuse(json, "its header ends within a string");
}

bool graft_json_digits(const char **at, const char *end, uint64_t *number) {
  const char *first = *at;
  *number = 0;
  while (*at < end && **at >= '0' && **at <= '9') {
    if (__builtin_mul_overflow(*number, (uint64_t)10, number) ||
        __builtin_add_overflow(*number, (uint64_t)(**at - '0'), number)) {
      return false;
    }
    ++*at;
  }
  return *at > first && (*first != '0' || *at == first + 1);
}

bool graft_json_number(graft_json *json, uint64_t *number) {
  graft_json_skip_spaces(json);
  const char *at = json->at;
  if (!graft_json_digits(&at, json->end, number)) {
    return graft_json_refuse(json, "its header has a number that is none of 0 ... 2^64 - 1");
  }
  json->at += at - json->at;
  return true;
}
