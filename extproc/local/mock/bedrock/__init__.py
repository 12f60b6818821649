"""The mock of Amazon Bedrock: Converse, and InvokeModel for Anthropic's models."""
