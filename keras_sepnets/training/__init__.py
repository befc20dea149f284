"""Training: the plan, the loop, checkpoints, and what a run keeps."""
