// GraftPlanning
