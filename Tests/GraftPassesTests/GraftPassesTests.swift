// GraftPassesTests
