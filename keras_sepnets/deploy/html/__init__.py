"""A classifier in one HTML file: the network as operations, the page, its interpreter, and its verification."""
