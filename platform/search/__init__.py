"""The search of one study: Optuna behind ask and tell, population-based training, budgets in device-seconds."""
