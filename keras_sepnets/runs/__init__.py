"""The run folder, tables of runs, and the pictures drawn into them."""
