"""The mock of those who give out access tokens: Microsoft Entra ID, Google."""
