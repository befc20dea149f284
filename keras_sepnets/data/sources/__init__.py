"""Where labelled pictures come from: folders, manifests, TFDS data sets."""
