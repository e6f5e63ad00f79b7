"""Shared pieces of methods: EMA, selectors, gates, centres, mixing, the CLID measure, meta-models."""
