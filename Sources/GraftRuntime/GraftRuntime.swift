// GraftRuntime
