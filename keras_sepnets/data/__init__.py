"""Data: picture files, sources of labelled pictures, batches for a network, and the catalogue of data sets."""
