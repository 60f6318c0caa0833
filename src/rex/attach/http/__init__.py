"""HTTP without a framework: conditions, ranges and the response to a download."""
