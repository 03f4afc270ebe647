"""Windows: which stretches of a capture belong to which round, part and test."""
