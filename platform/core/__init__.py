"""What rows are, how they are kept and how errors are said: what every room above builds on."""
