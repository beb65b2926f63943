"""What was made, and how: beside every output, and as a row."""
