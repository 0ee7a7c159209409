"""A consortium on one machine: chain, identities, demo data, the shipped base model, the demo."""
