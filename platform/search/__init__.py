"""The search: Optuna, asked for the next row and told of every row, in the ledger's terms."""
