"""Drop-in replacements for frameworks, one file each."""
