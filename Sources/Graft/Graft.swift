// Graft
