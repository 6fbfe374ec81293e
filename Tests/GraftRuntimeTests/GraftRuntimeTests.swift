// GraftRuntimeTests
