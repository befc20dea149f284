"""From a run to a device: files that classify pictures elsewhere, each verified by its own runtime."""
