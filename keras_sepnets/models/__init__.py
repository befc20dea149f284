"""Networks: one file per paper, made of stock Keras layers (Keras only, no TensorFlow import of our own)."""
