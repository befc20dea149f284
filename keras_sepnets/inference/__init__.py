"""What to do with a trained run: evaluate it on a split, predict the classes of picture files."""
