"""Files: which formats there are, and one module for each. They do input and output only."""
