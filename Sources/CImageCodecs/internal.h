// Shared by the files of CImageCodecs: the reader and one decoder for each format.
#pragma once
#include "CImageCodecs.h"

#include <setjmp.h>
#include <stdio.h>

// clang-format off: jpeglib.h needs stdio.h before it.
#include <jpeglib.h>
#include <png.h>
// clang-format on

enum { CImageCodecs_messageLength = 256 };

typedef struct CImageCodecs_JPEG {
  struct jpeg_decompress_struct decoder;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  int created;
  int ranOut;          // the decoder asked for bytes beyond the file's end
  int missedPixels;    // and had to invent pixels because of it
} CImageCodecs_JPEG;

typedef struct CImageCodecs_PNG {
  png_structp decoder;
  png_infop info;
  const uint8_t *bytes;
  size_t length;
  size_t position;
  int ranOut;
  int gotPixels;
} CImageCodecs_PNG;

struct CImageCodecs_Reader {
  jmp_buf escape;
  char message[CImageCodecs_messageLength];
  CImageCodecs_Header header;
  uint32_t exifOrientation;  // 0 where there is none
  uint32_t xmpOrientation;   // 0 where there is none
  CImageCodecs_JPEG jpeg;
  CImageCodecs_PNG png;
};

CImageCodecs_Status CImageCodecs_openJPEG(
    CImageCodecs_Reader *reader, const uint8_t *bytes, size_t length);
CImageCodecs_Status CImageCodecs_readJPEG(CImageCodecs_Reader *reader, uint8_t *pixels);
void CImageCodecs_closeJPEG(CImageCodecs_Reader *reader);

CImageCodecs_Status CImageCodecs_openPNG(
    CImageCodecs_Reader *reader, const uint8_t *bytes, size_t length, CImageCodecs_Content content);
CImageCodecs_Status CImageCodecs_readPNG(CImageCodecs_Reader *reader, uint8_t *pixels);
void CImageCodecs_closePNG(CImageCodecs_Reader *reader);

// The orientation that a TIFF block (an APP1 segment after its "Exif\0\0", a PNG's eXIf chunk)
// specifies: 1 ... 8, or 0 if it has no such tag or is damaged.
uint32_t CImageCodecs_orientationInEXIF(const uint8_t *tiff, size_t length);

// The same for an XMP packet.
uint32_t CImageCodecs_orientationInXMP(const uint8_t *text, size_t length);

// The orientation of the image, 1 ... 8: EXIF's, or XMP's if EXIF has none.
uint32_t CImageCodecs_orientation(const CImageCodecs_Reader *reader);

void CImageCodecs_copyMessage(const char *text, char *message, size_t capacity);
