"""Kernels: one interface, several implementations."""
