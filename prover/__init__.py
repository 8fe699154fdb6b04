"""Producing: what a model owner runs. Imports the verifier and the circuits, never the reverse."""
