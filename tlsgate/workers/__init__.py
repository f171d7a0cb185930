"""Several processes behind one set of ports: a parent that binds and supervises, workers that serve. Design note 0014."""
