"""Certificates, one module for each check that needs its own numerics; see `registry`."""
