// JPEG (libjpeg-turbo), PNG (libpng) and orientation (EXIF by libexif, XMP), from and to memory, as 8-bit
// pixels. The libraries report errors by longjmp, which must not cross Swift frames, so every call
// into them is made here. The caller handles limits, color conversion and rotation.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum CImageCodecs_Status {
  CImageCodecs_ok = 0,
  CImageCodecs_notAnImage = 1,    // neither a JPEG nor a PNG signature
  CImageCodecs_damaged = 2,       // the library refuses what the file says
  CImageCodecs_truncated = 3,     // the file ends before its pixels do
  CImageCodecs_unsupported = 4,   // legal, but not 8-bit gray, RGB or CMYK after decoding
  CImageCodecs_outOfMemory = 5,
  CImageCodecs_badArgument = 6    // a buffer of the wrong size
} CImageCodecs_Status;

typedef enum CImageCodecs_Color {
  CImageCodecs_gray = 1,
  CImageCodecs_rgb = 3,
  // As stored in the file; Adobe's programs, and nearly all others, store it inverted.
  CImageCodecs_cmyk = 4
} CImageCodecs_Color;

typedef struct CImageCodecs_Header {
  uint32_t width;
  uint32_t height;
  uint32_t channels;  // of the decoded pixels: 1, 3 or 4
  CImageCodecs_Color color;
  uint32_t isPNG;
} CImageCodecs_Header;

// What a reader delivers.
typedef enum CImageCodecs_Content {
  CImageCodecs_pixels = 0,   // colors
  CImageCodecs_indices = 1   // of a PNG with a palette or in gray of at most 8 bits: the numbers as stored
} CImageCodecs_Content;

typedef struct CImageCodecs_Reader CImageCodecs_Reader;

// Reads the header of the image in bytes[0 ..< length], which must stay valid until close.
// On success *reader must be closed; on failure it is NULL and `message` says why.
CImageCodecs_Status CImageCodecs_open(
    const uint8_t *bytes, size_t length, CImageCodecs_Content content, CImageCodecs_Reader **reader,
    CImageCodecs_Header *header, char *message, size_t messageCapacity);

// Decodes all pixels, interleaved, rows from the top without padding: `capacity` must be
// width * height * channels. Call at most once. `orientation` is set to
// EXIF's value, else XMP's, 1 ... 8, else 1.
CImageCodecs_Status CImageCodecs_read(
    CImageCodecs_Reader *reader, uint8_t *pixels, size_t capacity, uint32_t *orientation,
    char *message, size_t messageCapacity);

void CImageCodecs_close(CImageCodecs_Reader *reader);

// Encodes interleaved gray (channels 1) or RGB (channels 3) pixels as a PNG file; with a palette of 256
// colors (768 bytes; else NULL), one channel of indices. On success *file holds *length bytes and must be
// freed with CImageCodecs_free.
CImageCodecs_Status CImageCodecs_encodePNG(
    const uint8_t *pixels, size_t capacity, uint32_t width, uint32_t height, uint32_t channels,
    const uint8_t *palette, uint8_t **file, size_t *length, char *message, size_t messageCapacity);

void CImageCodecs_free(void *memory);

#ifdef __cplusplus
}
#endif
