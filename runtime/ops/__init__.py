"""Shape rule and lowering of every operator that has a kernel, one family a file."""
