"""From a picture file to pixels, and from pixels to what a network sees."""
