"""Settings of runs: their schema, the files and layers that they come from, recipes."""
