"""A consortium of real daemons whose provider misbehaves."""
