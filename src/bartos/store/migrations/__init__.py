"""How a database came to the form that `bartos.store.tables` declares, step by step."""
