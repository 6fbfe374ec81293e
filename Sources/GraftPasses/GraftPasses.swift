// GraftPasses
