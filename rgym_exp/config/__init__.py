"""What a run is told: the template, the user's file, networks, invites, environment variables and overrides."""
