"""Colours that tell objects apart."""

# Okabe and Ito's palette, which stays apart in every common form of colour blindness; black gives way to white.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")
