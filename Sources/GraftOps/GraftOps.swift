// GraftOps
