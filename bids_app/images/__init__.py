"""NIfTI and CIFTI series: what the header says, values streamed."""
