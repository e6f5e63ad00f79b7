"""What `import kurabe` offers (kurabe.py): results as data frames, comparisons, figures, one trial in this process."""
