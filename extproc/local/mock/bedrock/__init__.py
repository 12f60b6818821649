"""The mock of Amazon Bedrock's Converse API."""
