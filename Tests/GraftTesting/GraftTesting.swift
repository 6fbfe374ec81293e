// GraftTesting
