"""Data: sources of labelled pictures, their split into train, validation and test, and batches (tf.data)."""
