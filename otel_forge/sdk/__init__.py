"""The recording core: the tracer, meter and logger providers."""
