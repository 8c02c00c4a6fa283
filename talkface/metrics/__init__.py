"""Image, lip and synchrony metrics: definition, protocol, citation."""
