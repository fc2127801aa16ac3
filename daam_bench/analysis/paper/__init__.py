"""What the paper prints, as data with its source, and how ours stands beside it."""
