// GraftCodegen
