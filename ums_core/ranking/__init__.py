"""Pure functions of arrays, numbers and words."""
