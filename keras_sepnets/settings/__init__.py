"""What a run is asked to do: the schema of the settings, the files they come from, the recipes."""
