#include "COnnxProto.h"
