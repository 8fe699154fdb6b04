"""The proving role of the argument, over interchangeable kernels."""
