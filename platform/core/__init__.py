"""Rows, their storage and the form of errors: the base of every other package."""
