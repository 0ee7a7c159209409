"""Client rules of federated training: proximal, SCAFFOLD, freezing."""
