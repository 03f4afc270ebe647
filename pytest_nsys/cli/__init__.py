"""The commands of ``pytest-nsys``, one module each: its arguments, and what it prints."""
