// PNG through libpng: every color type to 8-bit gray or RGB without alpha. 16-bit samples keep
// their high byte, and alpha is dropped rather than blended, as in Pillow's convert("RGB").
#include "internal.h"

#include <stdlib.h>
#include <string.h>

_Noreturn static void decodingFailed(png_structp decoder, png_const_charp text) {
  CImageCodecs_Reader *reader = png_get_error_ptr(decoder);
  CImageCodecs_copyMessage(text, reader->message, sizeof reader->message);
  longjmp(reader->escape, 1);
}

static void ignoreWarning(png_structp decoder, png_const_charp text) {
  (void)decoder;
  (void)text;
}

static void readBytes(png_structp decoder, png_bytep target, size_t count) {
  CImageCodecs_Reader *reader = png_get_io_ptr(decoder);
  CImageCodecs_PNG *png = &reader->png;
  if (count > png->length - png->position) {
    png->ranOut = 1;
    png_error(decoder, "the file ends before its picture does");
  }
  memcpy(target, png->bytes + png->position, count);
  png->position += count;
}

static CImageCodecs_Status failed(CImageCodecs_Reader *reader) {
  return reader->png.ranOut ? CImageCodecs_truncated : CImageCodecs_damaged;
}

static int hexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

// EXIF as ImageMagick wrote it before PNG had an eXIf chunk: three header lines, then hexadecimal
// digits.
static uint32_t orientationInProfile(const char *text, size_t length) {
  const char *end = text + length;
  for (int line = 0; line < 3; line++) {
    text = memchr(text, '\n', (size_t)(end - text));
    if (!text++) return 0;
  }
  uint8_t *bytes = malloc((size_t)(end - text) / 2 + 1);
  if (!bytes) return 0;
  size_t digits = 0;
  for (; text < end; text++) {
    int digit = hexDigit(*text);
    if (digit < 0) continue;
    bytes[digits / 2] = (uint8_t)(digits % 2 ? bytes[digits / 2] << 4 | digit : digit);
    digits++;
  }
  uint32_t orientation = CImageCodecs_orientationInEXIF(bytes, digits / 2);
  free(bytes);
  return orientation;
}

static void readOrientation(CImageCodecs_Reader *reader) {
  png_bytep block = NULL;
  png_uint_32 length = 0;
  if (png_get_eXIf_1(reader->png.decoder, reader->png.info, &length, &block) && block)
    reader->exifOrientation = CImageCodecs_orientationInEXIF(block, length);

  png_textp texts = NULL;
  int count = png_get_text(reader->png.decoder, reader->png.info, &texts, NULL);
  for (int i = 0; i < count; i++) {
    size_t size = texts[i].text_length ? texts[i].text_length : texts[i].itxt_length;
    if (!texts[i].text || !size) continue;
    if (!strcmp(texts[i].key, "XML:com.adobe.xmp"))
      reader->xmpOrientation =
          CImageCodecs_orientationInXMP((const uint8_t *)texts[i].text, size);
    else if (!block && !strcmp(texts[i].key, "Raw profile type exif"))
      reader->exifOrientation = orientationInProfile(texts[i].text, size);
  }
}

CImageCodecs_Status CImageCodecs_openPNG(
    CImageCodecs_Reader *reader, const uint8_t *bytes, size_t length,
    CImageCodecs_Content content) {
  CImageCodecs_PNG *png = &reader->png;
  png->bytes = bytes;
  png->length = length;
  if (setjmp(reader->escape)) return failed(reader);
  png->decoder =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, decodingFailed, ignoreWarning);
  if (png->decoder) png->info = png_create_info_struct(png->decoder);
  if (!png->decoder || !png->info) {
    CImageCodecs_copyMessage("out of memory", reader->message, sizeof reader->message);
    return CImageCodecs_outOfMemory;
  }
  png_set_read_fn(png->decoder, reader, readBytes);
  png_read_info(png->decoder, png->info);

  int color = png_get_color_type(png->decoder, png->info);
  int depth = png_get_bit_depth(png->decoder, png->info);
  if (content == CImageCodecs_indices) {
    if ((color != PNG_COLOR_TYPE_PALETTE && color != PNG_COLOR_TYPE_GRAY) || depth > 8) {
      CImageCodecs_copyMessage(
          depth > 8 ? "of 16 bits a channel" : "in color without a palette, or has transparency",
          reader->message, sizeof reader->message);
      return CImageCodecs_unsupported;
    }
    png_set_packing(png->decoder);
  } else {
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png->decoder);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png->decoder);
  }
  if (depth == 16) png_set_strip_16(png->decoder);
  png_set_strip_alpha(png->decoder);
  png_set_interlace_handling(png->decoder);
  png_read_update_info(png->decoder, png->info);

  uint32_t channels = png_get_channels(png->decoder, png->info);
  if (png_get_bit_depth(png->decoder, png->info) != 8 || (channels != 1 && channels != 3)) {
    CImageCodecs_copyMessage("an unknown kind of pixel", reader->message, sizeof reader->message);
    return CImageCodecs_unsupported;
  }
  reader->header.color = channels == 1 ? CImageCodecs_gray : CImageCodecs_rgb;
  reader->header.width = png_get_image_width(png->decoder, png->info);
  reader->header.height = png_get_image_height(png->decoder, png->info);
  readOrientation(reader);
  return CImageCodecs_ok;
}

CImageCodecs_Status CImageCodecs_readPNG(CImageCodecs_Reader *reader, uint8_t *pixels) {
  CImageCodecs_PNG *png = &reader->png;
  size_t stride = (size_t)reader->header.width * reader->header.channels;
  if (png_get_rowbytes(png->decoder, png->info) != stride) {
    CImageCodecs_copyMessage(
        "rows of an unexpected size", reader->message, sizeof reader->message);
    return CImageCodecs_unsupported;
  }
  png_bytep *rows = malloc(sizeof(png_bytep) * reader->header.height);
  if (!rows) {
    CImageCodecs_copyMessage("out of memory", reader->message, sizeof reader->message);
    return CImageCodecs_outOfMemory;
  }
  for (size_t y = 0; y < reader->header.height; y++) rows[y] = pixels + y * stride;
  // Damage after the last row affects no pixels; an eXIf chunk may follow there.
  if (setjmp(reader->escape)) {
    free(rows);
    return png->gotPixels ? CImageCodecs_ok : failed(reader);
  }
  png_read_image(png->decoder, rows);
  png->gotPixels = 1;
  png_read_end(png->decoder, png->info);
  readOrientation(reader);
  free(rows);
  return CImageCodecs_ok;
}

void CImageCodecs_closePNG(CImageCodecs_Reader *reader) {
  if (!reader->png.decoder || setjmp(reader->escape)) return;
  png_destroy_read_struct(&reader->png.decoder, &reader->png.info, NULL);
}

typedef struct Writer {
  jmp_buf escape;
  char message[CImageCodecs_messageLength];
  uint8_t *bytes;
  size_t length;
  size_t capacity;
  png_structp encoder;
  png_infop info;
} Writer;

_Noreturn static void encodingFailed(png_structp encoder, png_const_charp text) {
  Writer *writer = png_get_error_ptr(encoder);
  CImageCodecs_copyMessage(text, writer->message, sizeof writer->message);
  longjmp(writer->escape, 1);
}

static void appendBytes(png_structp encoder, png_bytep source, size_t count) {
  Writer *writer = png_get_io_ptr(encoder);
  if (count > writer->capacity - writer->length) {
    size_t wanted = (writer->length + count) * 2;
    uint8_t *grown = realloc(writer->bytes, wanted);
    if (!grown) png_error(encoder, "out of memory");
    writer->bytes = grown;
    writer->capacity = wanted;
  }
  memcpy(writer->bytes + writer->length, source, count);
  writer->length += count;
}

static void flushNothing(png_structp encoder) { (void)encoder; }

CImageCodecs_Status CImageCodecs_encodePNG(
    const uint8_t *pixels, size_t capacity, uint32_t width, uint32_t height, uint32_t channels,
    const uint8_t *palette, uint8_t **file, size_t *length, char *message, size_t messageCapacity) {
  *file = NULL;
  *length = 0;
  size_t stride, size;
  if ((channels != 1 && (channels != 3 || palette)) ||
      __builtin_mul_overflow((size_t)width, channels, &stride) ||
      __builtin_mul_overflow(stride, (size_t)height, &size) || size != capacity) {
    CImageCodecs_copyMessage("the pixel buffer has the wrong size", message, messageCapacity);
    return CImageCodecs_badArgument;
  }
  Writer *writer = calloc(1, sizeof *writer);
  if (!writer) return CImageCodecs_outOfMemory;
  CImageCodecs_Status status = CImageCodecs_ok;
  if (setjmp(writer->escape)) {
    CImageCodecs_copyMessage(writer->message, message, messageCapacity);
    status = CImageCodecs_damaged;
  } else {
    writer->encoder =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, writer, encodingFailed, ignoreWarning);
    if (writer->encoder) writer->info = png_create_info_struct(writer->encoder);
    if (writer->encoder && writer->info) {
      png_set_write_fn(writer->encoder, writer, appendBytes, flushNothing);
      png_set_IHDR(
          writer->encoder, writer->info, width, height, 8,
          palette         ? PNG_COLOR_TYPE_PALETTE
          : channels == 1 ? PNG_COLOR_TYPE_GRAY
                          : PNG_COLOR_TYPE_RGB,
          PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
      if (palette) {
        png_color colors[256];
        for (int i = 0; i < 256; i++)
          colors[i] = (png_color){palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]};
        png_set_PLTE(writer->encoder, writer->info, colors, 256);
      }
      png_write_info(writer->encoder, writer->info);
      for (size_t y = 0; y < height; y++) png_write_row(writer->encoder, pixels + y * stride);
      png_write_end(writer->encoder, writer->info);
    } else {
      CImageCodecs_copyMessage("out of memory", message, messageCapacity);
      status = CImageCodecs_outOfMemory;
    }
  }
  if (writer->encoder) png_destroy_write_struct(&writer->encoder, &writer->info);
  if (status == CImageCodecs_ok) {
    *file = writer->bytes;
    *length = writer->length;
  } else {
    free(writer->bytes);
  }
  free(writer);
  return status;
}
