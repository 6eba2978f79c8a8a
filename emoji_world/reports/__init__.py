"""Measurements on the embedded base, and the reports on them."""
