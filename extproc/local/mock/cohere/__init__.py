"""Cohere's chat v2, as strict as the real one: https://docs.cohere.com/reference/chat."""
