// GraftDiagnosticsTests
