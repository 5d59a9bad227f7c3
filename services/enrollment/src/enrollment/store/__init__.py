"""Every SQL statement of enrollment: `book` for what is assigned, `people` for to whom, `records` for what they have."""
