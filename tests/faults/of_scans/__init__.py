"""What is wrong with one scan, or with what was written of it: it costs that scan alone."""
