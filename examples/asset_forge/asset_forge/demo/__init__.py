"""The demo: three services, instrumented without a change of code, and traffic that flows through them."""
