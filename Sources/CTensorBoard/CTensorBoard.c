// Nothing of its own: including the header makes a build without generated code stop with a sentence that
// names tools/setup. The code itself is generated/tensorboard.pb-c.c.
#include "CTensorBoard.h"
