"""Sources of labelled pictures: folders, manifests, TFDS data sets."""
