"""The run folder, tables of runs, plots."""
