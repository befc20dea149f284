"""What a trained run makes of pictures: evaluation of a split, prediction for files."""
