"""Methods of unlearning: losses, counter-training, closed forms, their guard and registry."""
