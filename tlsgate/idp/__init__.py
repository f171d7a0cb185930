"""Identity providers of others: their key sets, discovery documents, and what they say of tokens."""
