"""Reports for people: one HTML file from signed content, the same bytes from the same content."""
