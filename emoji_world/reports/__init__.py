"""Measurements on the built-in base, and the reports on them."""
