"""The forecast of a sweep: the plan, the trials that its scheduler would stop, measured costs, the cost of it all."""
