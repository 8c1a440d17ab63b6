"""The one place that fakes data for tests."""
