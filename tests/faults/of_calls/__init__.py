"""What is wrong with an invocation as a whole: its words, what it rests on, where it writes."""
