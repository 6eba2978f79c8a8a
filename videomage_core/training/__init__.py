"""Training: the loop, its checkpoints, the store of finished trainings."""
