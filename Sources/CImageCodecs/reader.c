// Detects the format and dispatches to its decoder.
#include "internal.h"

#include <stdlib.h>
#include <string.h>

void CImageCodecs_copyMessage(const char *text, char *message, size_t capacity) {
  if (message && capacity) snprintf(message, capacity, "%s", text);
}

static CImageCodecs_Status fail(
    CImageCodecs_Status status, const char *text, char *message, size_t capacity) {
  CImageCodecs_copyMessage(text, message, capacity);
  return status;
}

CImageCodecs_Status CImageCodecs_open(
    const uint8_t *bytes, size_t length, CImageCodecs_Content content, CImageCodecs_Reader **reader,
    CImageCodecs_Header *header, char *message, size_t messageCapacity) {
  static const uint8_t jpegSignature[] = {0xFF, 0xD8, 0xFF};
  static const uint8_t pngSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  *reader = NULL;
  memset(header, 0, sizeof *header);
  int isJPEG = length >= sizeof jpegSignature && !memcmp(bytes, jpegSignature, 3);
  int isPNG = length >= sizeof pngSignature && !memcmp(bytes, pngSignature, 8);
  if (!isJPEG && !isPNG)
    return fail(CImageCodecs_notAnImage, "neither a JPEG nor a PNG file", message, messageCapacity);
  if (content == CImageCodecs_indices && !isPNG)
    return fail(
        CImageCodecs_unsupported, "a JPEG, which does not keep exact numbers", message,
        messageCapacity);

  CImageCodecs_Reader *fresh = calloc(1, sizeof *fresh);
  if (!fresh) return fail(CImageCodecs_outOfMemory, "out of memory", message, messageCapacity);
  fresh->header.isPNG = (uint32_t)isPNG;
  CImageCodecs_Status status = isPNG ? CImageCodecs_openPNG(fresh, bytes, length, content)
                                     : CImageCodecs_openJPEG(fresh, bytes, length);
  if (status != CImageCodecs_ok) {
    CImageCodecs_copyMessage(fresh->message, message, messageCapacity);
    CImageCodecs_close(fresh);
    return status;
  }
  fresh->header.channels = (uint32_t)fresh->header.color;
  *header = fresh->header;
  *reader = fresh;
  return CImageCodecs_ok;
}

CImageCodecs_Status CImageCodecs_read(
    CImageCodecs_Reader *reader, uint8_t *pixels, size_t capacity, uint32_t *orientation,
    char *message, size_t messageCapacity) {
  size_t row, size;
  if (__builtin_mul_overflow((size_t)reader->header.width, reader->header.channels, &row) ||
      __builtin_mul_overflow(row, (size_t)reader->header.height, &size) || size != capacity)
    return fail(
        CImageCodecs_badArgument, "the pixel buffer has the wrong size", message, messageCapacity);
  CImageCodecs_Status status = reader->header.isPNG ? CImageCodecs_readPNG(reader, pixels)
                                                    : CImageCodecs_readJPEG(reader, pixels);
  if (status != CImageCodecs_ok)
    CImageCodecs_copyMessage(reader->message, message, messageCapacity);
  *orientation = CImageCodecs_orientation(reader);
  return status;
}

void CImageCodecs_close(CImageCodecs_Reader *reader) {
  if (!reader) return;
  if (reader->header.isPNG)
    CImageCodecs_closePNG(reader);
  else
    CImageCodecs_closeJPEG(reader);
  free(reader);
}

void CImageCodecs_free(void *memory) { free(memory); }
