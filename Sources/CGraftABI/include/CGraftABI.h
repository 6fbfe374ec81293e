// What Swift sees of the bundle's binary interface: graft.h itself, and the text of the C files that go
// into every bundle.
#ifndef CGRAFTABI_H
#define CGRAFTABI_H

#include "graft.h"

/// One file that a bundle carries as it is.
typedef struct CGraftABI_file {
  const char *name;
  const unsigned char *text;
  size_t length;
  /// Whether it is compiled, and not only included.
  int isSource;
} CGraftABI_file;

/// File number `index`, or one whose name is NULL past the last.
CGraftABI_file CGraftABI_fileAt(size_t index);

#endif
