"""helm's command lines: read whole, checked, and written anew."""
