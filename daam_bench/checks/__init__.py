"""What must be right before hours are spent: one check a function, one line a finding."""
