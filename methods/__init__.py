"""Methods are plug-ins: one file or folder each, found by place, by path or by the entry-point group `kurabe.methods`.

A plug-in holds one subclass of `methods.base.Method`; its name in a sweep file is its file's or folder's.
"""
