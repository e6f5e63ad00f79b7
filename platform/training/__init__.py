"""One trial: training loop, evaluation, checkpoints, diagnostics; and the rules that select a winner."""
