"""Ray Tune: hands out rows as trials, runs them in reused actors, stops them, and passes on what they report."""
