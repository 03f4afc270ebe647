"""From a capture's windows to measurements of tests.

In `windows`, a trace becomes samples and breakdowns of the windows of each test, several windows of
a round one value by the rules of `rounds`; in `measurer` these become the `measurement` of a test,
and in `processes` several of them, or the captures of one process, one.
"""
