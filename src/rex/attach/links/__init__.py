"""Links: values, signing, tokens and grants."""
