// GraftPlanningTests
