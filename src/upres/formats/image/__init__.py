"""Pictures through libvips."""
