"""Guards by which a sweep survives signals, a full disk, lost processes, memory that runs out, trials that hang."""
