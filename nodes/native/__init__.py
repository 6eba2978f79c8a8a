"""Collaborative sampling on ComfyUI's own MODEL: all that touches the core's internals, a file a concern.

What a core has is found by asking for it, never by its version number.
"""
