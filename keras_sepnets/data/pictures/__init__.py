"""From a picture file to pixels, and from pixels to the input of a network."""
