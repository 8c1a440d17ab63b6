"""What a training takes on TPUs: arithmetic from what was measured."""
