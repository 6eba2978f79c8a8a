"""Collaborative sampling on ComfyUI's own MODEL: all code that uses the core's internals, one file per concern.

Features of a core are checked for directly, never by its version number.
"""
