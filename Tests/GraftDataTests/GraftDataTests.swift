// GraftDataTests
