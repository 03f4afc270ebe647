"""The tests: a folder for each package of pytest_nsys, and suites of their own.

tests/verdict/test_rule.py is about pytest_nsys/verdict/rule.py. Two packages have their tests below
``ground``, since their names mean something else here: ``support`` are the helpers, fakes and
builders of all tests, and ``gpu`` are the tests that need a GPU.

What crosses the package is a suite of its own: ``plugin`` (what users see, by runs of pytest),
``public`` (what they may import), ``faults``, ``fuzz``, ``parity`` (nsys's own reports), ``simgpu``
(the stand-in for nsys and the simulated GPU themselves), ``gpu``, ``vllm`` and ``benchmarks`` (the
code of our own studies). ``captures`` are real ones.
"""
