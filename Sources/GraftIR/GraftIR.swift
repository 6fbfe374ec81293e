// GraftIR
