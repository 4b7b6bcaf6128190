"""One page per participant, drawn from the tables and statuses beside it."""
