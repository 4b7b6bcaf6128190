"""Work spread over processes: bounded in number and memory, each of them expendable."""
