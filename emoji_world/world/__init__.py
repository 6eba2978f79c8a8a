"""The emoji world: who is in it, what they do, where, and the drawing of it."""
