// GraftOpsTests
