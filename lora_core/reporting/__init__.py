"""Tables, figures, claims and the page, drawn from the records of a study."""
