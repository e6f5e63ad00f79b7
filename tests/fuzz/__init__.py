"""Bad input by the thousand: sweep files and data sets. Each ends in exit code 0 or 2, in words, soon and small."""
