// GraftTests
