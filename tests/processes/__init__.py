"""Every way in which servers and programs make processes: each record once, and the last ones too."""
