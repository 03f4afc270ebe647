"""The doctor: is this machine fit for captures, and if not, what is to be done?

`pytest_nsys.doctor.run` is the command ``pytest-nsys doctor``; `pytest_nsys.doctor.explain` adds
what the same probes find to an error that a capture ended in.
"""
