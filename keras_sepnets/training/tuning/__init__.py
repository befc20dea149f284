"""What is measured before a run begins: batch size, form of the network, duration."""
