"""The records of a study in the formats of other tools, one module each."""
