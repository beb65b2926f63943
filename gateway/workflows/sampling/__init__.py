"""What samplers are told: where it stands, what presets write there, what made an output."""
