"""Other proof systems for the same statement graphs, seen from the side that verifies."""
