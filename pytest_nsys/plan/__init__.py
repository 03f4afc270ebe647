"""Options and markers: what the user asked for, read once into frozen values."""
