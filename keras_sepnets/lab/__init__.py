"""Experiments over several runs: ablations."""
