"""From a source to batches: holdout, splits, stores, augmentation, pipeline."""
