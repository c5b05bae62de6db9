"""The back end on this machine: its components, the engines that run them, and the supervisor of the native one."""
