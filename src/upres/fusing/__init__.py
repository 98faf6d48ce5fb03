"""Several pictures of one scene become one better picture."""
