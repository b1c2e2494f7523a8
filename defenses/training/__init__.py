"""Networks trained to withstand: adversarial trainings and their relatives."""
