"""Data sources are plug-ins: one file each, found by place, by path or by the entry-point group `kurabe.sources`."""
