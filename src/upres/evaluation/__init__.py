"""How good models are: benchmark sets, the field's protocol, and tables of results."""
