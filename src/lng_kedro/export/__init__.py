"""A trained adapter as a model that others can use: merged weights, a model card, a registered model."""
