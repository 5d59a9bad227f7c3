"""Every SQL statement of enrollment: `book` for what is assigned and to whom, `records` for what people have."""
