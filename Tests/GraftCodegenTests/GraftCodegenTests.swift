// GraftCodegenTests
