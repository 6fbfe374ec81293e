// What Swift sees of the bundle's binary interface: graft.h and graft_train.h themselves, and the
// text of the C files that go into bundles.
#ifndef CGRAFTABI_H
#define CGRAFTABI_H

#include "graft.h"
#include "graft_train.h"
#include "graft_train_interface.h"

/// One file that a bundle carries as it is.
typedef struct CGraftABI_file {
  const char *name;
  const unsigned char *text;
  size_t length;
  /// Whether it is compiled, and not only included.
  int isSource;
} CGraftABI_file;

/// File number `index` of those that go into libmodel.so, or one whose name is NULL past the last.
CGraftABI_file CGraftABI_fileAt(size_t index);

/// File number `index` of those that go into libtrain.so, or one whose name is NULL past the last.
CGraftABI_file CGraftABI_trainingFileAt(size_t index);

#endif
