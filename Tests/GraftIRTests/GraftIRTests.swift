// GraftIRTests
