"""The live path: OpenAI API, engine client, vote, recording, promotion. Loads no model code."""
