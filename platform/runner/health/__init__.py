"""The health of the machines that a sweep would run on: asked on every node, judged on the driver's, told in one table.

A folder of the runner: a sweep with --address asks the quick part first, and both go through the runner's connection.
"""
