"""For every room: errors, text, files, results, the machine, intervals; nothing here knows networks or runs."""
