"""Events to whoever wants to hear of them: the log, web addresses."""
