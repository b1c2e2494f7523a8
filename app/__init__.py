"""The explorer over a store: read-only, on localhost."""

if __name__ != "carom.app":
    raise ImportError(f"import carom.app, not {__name__}: one class would load twice")
