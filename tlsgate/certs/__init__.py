"""The certificate store: what is kept, what is named, what comes to its end."""
