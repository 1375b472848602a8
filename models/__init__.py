"""The models that can be plugged in: adapters to encoders, each named by text in catalog.toml."""
