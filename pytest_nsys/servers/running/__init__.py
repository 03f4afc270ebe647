"""Servers that run, below nsys or not: processes, sessions of nsys, endpoints."""
