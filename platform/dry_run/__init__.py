"""What a sweep would do and cost: the plan, what its scheduler would stop, measured costs, the forecast."""
