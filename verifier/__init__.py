"""Deciding: the small package that a regulator runs. It imports neither torch nor numba."""
