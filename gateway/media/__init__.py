"""Pictures, sound and video: inputs that come in, outputs that go out, conversions between."""
