"""What the others stand on: tasks and their image sources, architectures, classifiers, training."""

if __name__ != "carom.zoo":
    raise ImportError(f"import carom.zoo, not {__name__}: one class would load twice")
