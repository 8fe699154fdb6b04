"""Measured figures: `python -m benchmarks` prints them."""
