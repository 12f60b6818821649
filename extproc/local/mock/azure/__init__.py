"""The mock of Azure OpenAI."""
