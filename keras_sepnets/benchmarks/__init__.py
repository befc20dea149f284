"""Speed on this machine: the input pipeline and training steps."""
