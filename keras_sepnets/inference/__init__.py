"""What a trained run says: evaluation of a split, prediction for picture files."""
