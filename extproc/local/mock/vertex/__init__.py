"""The mock of Vertex AI: Gemini, and Anthropic's models."""
