// EXIF's orientation tag, by libexif.
#include "internal.h"

#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

uint32_t CImageCodecs_orientation(const uint8_t *tiff, size_t length) {
  // libexif takes the block with the prefix that it has in a JPEG; a segment has 64 KiB at most.
  static const uint8_t prefix[6] = {'E', 'x', 'i', 'f', 0, 0};
  if (length < 8 || length > 65535) return 1;
  uint8_t *block = malloc(sizeof prefix + length);
  if (!block) return 1;
  memcpy(block, prefix, sizeof prefix);
  memcpy(block + sizeof prefix, tiff, length);

  uint32_t orientation = 1;
  ExifData *data = exif_data_new_from_data(block, (unsigned)(sizeof prefix + length));
  if (data) {
    ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
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
