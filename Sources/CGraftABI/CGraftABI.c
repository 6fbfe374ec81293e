#include "CGraftABI.h"
