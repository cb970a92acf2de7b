"""The images on which weights were trained, selected and tested, recorded as pixel hashes."""
