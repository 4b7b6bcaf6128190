"""The installed 457-parcel atlas: read and checked, never changed."""
