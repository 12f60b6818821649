"""A mock of Mistral's chat, as strict as `mistralai`'s types and Mistral's own errors."""
