"""The paper, a file a stage."""
