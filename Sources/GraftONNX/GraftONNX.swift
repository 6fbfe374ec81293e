// GraftONNX
