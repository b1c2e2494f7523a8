"""The explorer's figures."""
