"""Reading of training data: the formats that people have, and the mapping of their columns."""
