"""Measurements before a run starts: batch size, form of the network, duration."""
