"""A pretended accelerator, on which every method trains although this machine has none.

It has to be there before the first backward pass of a process: torch starts the threads of all devices then. So what
is tried on it is tried in a process of its own (`tried`), or in a worker of Ray whose method registers it.
"""

import kurabe  # noqa: F401  # makes `platform` the package, in a process that pytest did not start
