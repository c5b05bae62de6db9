"""What is measured: the app, and the worker that drives it. Runs with no package but the variant's own."""
