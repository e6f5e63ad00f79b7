"""Parts that several methods share: weight averages, selectors, pseudo-labels, centres, mixing, the CLID measure."""
