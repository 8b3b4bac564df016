"""The report: one page that shows a whole study and needs no network."""
