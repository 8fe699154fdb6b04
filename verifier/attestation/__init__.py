"""Signed statements about a model: what was shown, by whom it was checked, until when that is to be relied on."""
