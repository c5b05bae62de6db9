"""Flask: what a web service needs around its views."""
