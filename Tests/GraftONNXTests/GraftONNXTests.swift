// GraftONNXTests
