"""Who attacks whom: spec -> plan -> run -> store -> statistics, and the command line over them."""

if __name__ != "carom.scenarios":
    raise ImportError(f"import carom.scenarios, not {__name__}: one class would load twice")
