"""The data sets there are: finding, preparing, describing and checking them."""
