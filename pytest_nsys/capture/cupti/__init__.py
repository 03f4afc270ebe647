"""Captures without nsys: CUPTI, from which nsys has its events, gives them to the process.

This records on request of one pytest process, what that process does.
"""
