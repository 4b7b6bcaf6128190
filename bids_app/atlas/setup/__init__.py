"""Set-up only: fetch the sources of the atlas, build it, lay it out."""
