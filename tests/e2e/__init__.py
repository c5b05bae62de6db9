"""The whole path: real applications, the real Collector, the real stores, asked over their own HTTP APIs."""
