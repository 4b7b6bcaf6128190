"""What is written: names, columns, sidecars, statuses. No other room knows them."""
