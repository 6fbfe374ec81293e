// ErrorTests
