"""Task blocks as windows, and what each network says by itself."""
