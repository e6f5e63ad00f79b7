"""The judge: which method is better, by how much, and how sure that is.

`comparison.open_comparison(paths)` reads results folders and CSV files, `comparison.of_sweep(info, rows)` takes a sweep
as a listener knows it; `judgement.judge(comparison)` gives means, intervals and pairs, `verdict.verdict(judged)` says
them in words, `score_tables` has tables, `comparison_figures.drawings(judged)` figures, `comparison_files` files.
"""
