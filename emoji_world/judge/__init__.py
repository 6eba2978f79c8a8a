"""The judge: who, what and where a generated clip shows."""
