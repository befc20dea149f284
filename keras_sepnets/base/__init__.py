"""What every room may use: errors, text, files, the machine, intervals; nothing here knows a network or a run."""
