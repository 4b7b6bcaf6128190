"""The command line: strings to options, outcomes to exit codes; the only place that prints."""

__all__ = ("app",)
