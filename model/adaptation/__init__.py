"""Go on training on a cohort of one's own."""
