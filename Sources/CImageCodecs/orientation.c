// The orientation of an image: EXIF's tag, read by libexif, or XMP's if EXIF has none.
#define _GNU_SOURCE  // memmem
#include "internal.h"

#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

uint32_t CImageCodecs_orientationInEXIF(const uint8_t *tiff, size_t length) {
  // libexif expects the block with its JPEG prefix; a segment has at most 64 KiB.
  static const uint8_t prefix[6] = {'E', 'x', 'i', 'f', 0, 0};
  if (length >= sizeof prefix && !memcmp(tiff, prefix, sizeof prefix)) {
    tiff += sizeof prefix;
    length -= sizeof prefix;
  }
  if (length < 8 || length > 65535) return 0;
  uint8_t *block = malloc(sizeof prefix + length);
  if (!block) return 0;
  memcpy(block, prefix, sizeof prefix);
  memcpy(block + sizeof prefix, tiff, length);

  uint32_t orientation = 0;
  ExifData *data = exif_data_new_from_data(block, (unsigned)(sizeof prefix + length));
  if (data) {
    ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    // A tag with an invalid value leaves the image unchanged, but counts as a tag.
    if (entry) orientation = 1;
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1 &&
        entry->data && entry->size >= 2) {
      uint32_t value = exif_get_short(entry->data, exif_data_get_byte_order(data));
      if (value >= 1 && value <= 8) orientation = value;
    }
    exif_data_unref(data);
  }
  free(block);
  return orientation;
}

// The forms that Pillow recognizes: an attribute tiff:Orientation="6" and an element <tiff:Orientation>6<.
uint32_t CImageCodecs_orientationInXMP(const uint8_t *text, size_t length) {
  static const char name[] = "tiff:Orientation";
  static const char *const separators[] = {"=\"", ">"};
  const size_t nameLength = sizeof name - 1;
  const uint8_t *end = text + length;
  const uint8_t *place = text;
  while ((place = memmem(place, (size_t)(end - place), name, nameLength))) {
    place += nameLength;
    for (size_t form = 0; form < 2; form++) {
      size_t size = strlen(separators[form]);
      if ((size_t)(end - place) <= size || memcmp(place, separators[form], size)) continue;
      uint8_t digit = place[size];
      if (digit < '0' || digit > '9') continue;
      return digit >= '1' && digit <= '8' ? (uint32_t)(digit - '0') : 1;
    }
  }
  return 0;
}

uint32_t CImageCodecs_orientation(const CImageCodecs_Reader *reader) {
  if (reader->exifOrientation) return reader->exifOrientation;
  return reader->xmpOrientation ? reader->xmpOrientation : 1;
}
