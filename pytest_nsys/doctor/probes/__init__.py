"""The probes: each looks at one thing of a machine and says what it found.

A probe takes a `pytest_nsys.doctor.context.ProbeContext`, changes nothing, and makes no capture.
"""
