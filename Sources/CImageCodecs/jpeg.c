// JPEG through libjpeg-turbo's libjpeg API, with its defaults (accurate integer DCT, smooth chroma
// upsampling), which are also Pillow's.
#include "internal.h"

#include <jerror.h>
#include <string.h>

// A progressive file of a few hundred bytes can ask for any number of passes over a huge image.
// Real encoders write about ten scans.
enum { scanLimit = 500 };

static CImageCodecs_Reader *readerOf(j_common_ptr decoder) {
  return (CImageCodecs_Reader *)decoder->client_data;
}

_Noreturn static void errorExit(j_common_ptr decoder) {
  CImageCodecs_Reader *reader = readerOf(decoder);
  char text[JMSG_LENGTH_MAX];
  decoder->err->format_message(decoder, text);
  CImageCodecs_copyMessage(text, reader->message, sizeof reader->message);
  longjmp(reader->escape, 1);
}

static void emitMessage(j_common_ptr decoder, int level) {
  CImageCodecs_JPEG *jpeg = &readerOf(decoder)->jpeg;
  // Level -1 is a warning: decoding continues, as in Pillow, unless the file has ended.
  if (level == -1 && decoder->err->msg_code == JWRN_HIT_MARKER && jpeg->ranOut)
    jpeg->missedPixels = 1;
}

static void outputMessage(j_common_ptr decoder) { (void)decoder; }

static void limitScans(j_common_ptr decoder) {
  j_decompress_ptr jpeg = (j_decompress_ptr)decoder;
  if (decoder->is_decompressor && jpeg->input_scan_number > scanLimit) {
    CImageCodecs_Reader *reader = readerOf(decoder);
    CImageCodecs_copyMessage(
        "more progressive scans than any real encoder writes", reader->message,
        sizeof reader->message);
    longjmp(reader->escape, 1);
  }
}

static void initSource(j_decompress_ptr decoder) { (void)decoder; }

// libjpeg reads some bytes ahead, so a request for more is not an error yet: it gets an end marker,
// and libjpeg warns if pixels were missing.
static boolean fillInput(j_decompress_ptr decoder) {
  static const JOCTET endOfImage[] = {0xFF, JPEG_EOI};
  readerOf((j_common_ptr)decoder)->jpeg.ranOut = 1;
  decoder->src->next_input_byte = endOfImage;
  decoder->src->bytes_in_buffer = sizeof endOfImage;
  return TRUE;
}

static void skipInput(j_decompress_ptr decoder, long count) {
  if (count <= 0) return;
  struct jpeg_source_mgr *source = decoder->src;
  if ((size_t)count > source->bytes_in_buffer) {
    fillInput(decoder);
  } else {
    source->next_input_byte += count;
    source->bytes_in_buffer -= (size_t)count;
  }
}

static void endSource(j_decompress_ptr decoder) { (void)decoder; }

static CImageCodecs_Status failed(CImageCodecs_Reader *reader) {
  if (reader->jpeg.errors.msg_code == JERR_OUT_OF_MEMORY) return CImageCodecs_outOfMemory;
  if (!reader->jpeg.ranOut) return CImageCodecs_damaged;
  CImageCodecs_copyMessage(
      "the file ends before its picture does", reader->message, sizeof reader->message);
  return CImageCodecs_truncated;
}

static void readOrientation(CImageCodecs_Reader *reader) {
  static const char exif[] = "Exif\0";                          // with the final 0, two of them
  static const char xmp[] = "http://ns.adobe.com/xap/1.0/";     // with the final 0
  int foundEXIF = 0;
  for (jpeg_saved_marker_ptr marker = reader->jpeg.decoder.marker_list; marker;
       marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1) continue;
    size_t length = marker->data_length;
    // If there are several blocks, Pillow uses EXIF's first and XMP's last.
    if (!foundEXIF && length >= sizeof exif && !memcmp(marker->data, exif, sizeof exif)) {
      foundEXIF = 1;
      reader->exifOrientation =
          CImageCodecs_orientationInEXIF(marker->data + sizeof exif, length - sizeof exif);
    } else if (length >= sizeof xmp && !memcmp(marker->data, xmp, sizeof xmp)) {
      reader->xmpOrientation =
          CImageCodecs_orientationInXMP(marker->data + sizeof xmp, length - sizeof xmp);
    }
  }
}

CImageCodecs_Status CImageCodecs_openJPEG(
    CImageCodecs_Reader *reader, const uint8_t *bytes, size_t length) {
  CImageCodecs_JPEG *jpeg = &reader->jpeg;
  struct jpeg_decompress_struct *decoder = &jpeg->decoder;
  decoder->err = jpeg_std_error(&jpeg->errors);
  jpeg->errors.error_exit = errorExit;
  jpeg->errors.emit_message = emitMessage;
  jpeg->errors.output_message = outputMessage;
  decoder->client_data = reader;
  if (setjmp(reader->escape)) return failed(reader);

  jpeg_create_decompress(decoder);
  jpeg->created = 1;
  jpeg->progress.progress_monitor = limitScans;
  decoder->progress = &jpeg->progress;
  jpeg->source.init_source = initSource;
  jpeg->source.fill_input_buffer = fillInput;
  jpeg->source.skip_input_data = skipInput;
  jpeg->source.resync_to_restart = jpeg_resync_to_restart;
  jpeg->source.term_source = endSource;
  jpeg->source.next_input_byte = bytes;
  jpeg->source.bytes_in_buffer = length;
  decoder->src = &jpeg->source;
  jpeg_save_markers(decoder, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(decoder, TRUE);

  switch (decoder->num_components) {
    case 1:
      reader->header.color = CImageCodecs_gray;
      decoder->out_color_space = JCS_GRAYSCALE;
      break;
    case 3:
      reader->header.color = CImageCodecs_rgb;
      decoder->out_color_space = JCS_RGB;
      break;
    case 4:
      reader->header.color = CImageCodecs_cmyk;
      decoder->out_color_space = JCS_CMYK;
      break;
    default:
      snprintf(
          reader->message, sizeof reader->message, "a JPEG of %d color components",
          decoder->num_components);
      return CImageCodecs_unsupported;
  }
  reader->header.width = decoder->image_width;
  reader->header.height = decoder->image_height;
  readOrientation(reader);
  return CImageCodecs_ok;
}

CImageCodecs_Status CImageCodecs_readJPEG(CImageCodecs_Reader *reader, uint8_t *pixels) {
  CImageCodecs_JPEG *jpeg = &reader->jpeg;
  struct jpeg_decompress_struct *decoder = &jpeg->decoder;
  if (setjmp(reader->escape)) return failed(reader);
  jpeg_start_decompress(decoder);
  // The caller's buffer was sized from the header.
  if (decoder->output_width != reader->header.width ||
      decoder->output_height != reader->header.height ||
      (uint32_t)decoder->output_components != reader->header.channels) {
    CImageCodecs_copyMessage(
        "the frame contradicts the header", reader->message, sizeof reader->message);
    return CImageCodecs_damaged;
  }
  size_t stride = (size_t)decoder->output_width * (size_t)decoder->output_components;
  while (decoder->output_scanline < decoder->output_height) {
    JSAMPROW row = pixels + stride * decoder->output_scanline;
    jpeg_read_scanlines(decoder, &row, 1);
    // A progressive image whose later scans are missing decodes without a warning, only coarser.
    if (jpeg->missedPixels || (jpeg->ranOut && jpeg_has_multiple_scans(decoder)))
      return failed(reader);
  }
  return CImageCodecs_ok;
}

void CImageCodecs_closeJPEG(CImageCodecs_Reader *reader) {
  if (!reader->jpeg.created) return;
  if (setjmp(reader->escape)) return;
  jpeg_destroy_decompress(&reader->jpeg.decoder);
}
