"""Parameters, multiply-adds and activation memory of a model, and the papers' own numbers beside them."""
